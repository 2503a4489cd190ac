// `npm run bench`, `bench:ejabberd`, `bench:freshness`, `bench:overload` and `bench:rosters`: compile the worker and the bench, and run the
// one that is named.
import { join } from 'node:path';
import { ensureSystemPackages } from './apt.mjs';
import { compile, ensureBuild } from './build.mjs';
import { ensureNpmPackages } from './npm.mjs';
import { root, run, runSetup, step } from './steps.mjs';

await runSetup(async () => {
  await ensureSystemPackages('bench');
  await ensureNpmPackages();
  await ensureBuild();
  await step('bench (tsc)', () => compile('bench'));
  const [name = 'main', ...args] = process.argv.slice(2);
  const main = join(root, '.warder/bench-build/bench', `${name}.js`);
  const { code } = await run(process.execPath, [main, ...args], { show: true });
  return code;
});
