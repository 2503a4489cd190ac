// `npm run bench`: compiles the worker and the bench, and runs the bench. Arguments go to it.
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
  const main = join(root, '.warder/bench-build/bench/main.js');
  const { code } = await run(process.execPath, [main, ...process.argv.slice(2)], { show: true });
  return code;
});
