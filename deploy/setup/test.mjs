// `npm test`: sets up what the tests need, runs them all, and ends with the line `N passed, N failed`. Arguments go to vitest.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureSystemPackages } from './apt.mjs';
import { ensureBuild } from './build.mjs';
import { ensureNpmPackages } from './npm.mjs';
import { root, run, runSetup } from './steps.mjs';
import { summarise } from './summary.mjs';

await runSetup(async () => {
  await ensureSystemPackages('test');
  await ensureNpmPackages();
  await ensureBuild();
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const report = join(folder, 'report.json');
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const { code } = await run(process.execPath, [vitest, 'run', ...reporters, ...process.argv.slice(2)], { show: true });
  const { line, exitCode } = summarise(readReport(report), code);
  process.stdout.write(`${line}\n`);
  return exitCode;
});

/** @param {string} path */
function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined; // vitest ended before it could write one
  }
}
