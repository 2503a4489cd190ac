// `npm run grafana`: compiles the dashboards in grafana/ and writes them to grafana/dashboards, as Grafana reads them.
import { join } from 'node:path';
import { compile } from './build.mjs';
import { ensureNpmPackages } from './npm.mjs';
import { root, runOrFail, runSetup, step } from './steps.mjs';

await runSetup(async () => {
  await ensureNpmPackages();
  await step('grafana (tsc)', () => compile('grafana'));
  const main = join(root, '.warder/grafana-build/grafana/main.js');
  await step('grafana/dashboards', () => runOrFail('the dashboards could not be written', process.execPath, [main]));
});
