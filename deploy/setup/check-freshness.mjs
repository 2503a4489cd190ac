// `npm run check:freshness`: compiles the worker and the checker, and runs the checker. Arguments go to it.
import { join } from 'node:path';
import { ensureSystemPackages } from './apt.mjs';
import { compile, ensureBuild } from './build.mjs';
import { ensureNpmPackages } from './npm.mjs';
import { root, run, runSetup, step } from './steps.mjs';

await runSetup(async () => {
  await ensureSystemPackages('test');
  await ensureNpmPackages();
  await ensureBuild();
  await step('checker (tsc)', () => compile('test/freshness'));
  const main = join(root, '.warder/freshness-build/test/freshness/main.js');
  const { code } = await run(process.execPath, [main, ...process.argv.slice(2)], { show: true });
  return code;
});
