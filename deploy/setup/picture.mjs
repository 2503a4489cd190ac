// `npm run docs:picture`: draws docs/images/overview.svg from a cluster that it runs for about a minute.
import { join } from 'node:path';
import { ensureSystemPackages } from './apt.mjs';
import { compile, ensureBuild } from './build.mjs';
import { ensureNpmPackages } from './npm.mjs';
import { root, runOrFail, runSetup, step } from './steps.mjs';

await runSetup(async () => {
  await ensureSystemPackages('test');
  await ensureNpmPackages();
  await ensureBuild();
  await step('grafana (tsc)', () => compile('grafana'));
  const main = join(root, '.warder/grafana-build/grafana/picture/main.js');
  await step('docs/images/overview.svg', () => runOrFail('there is no picture', process.execPath, [main]));
});
