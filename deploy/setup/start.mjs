// `npm start`: sets up what is missing, then is `warder dev`.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureSystemPackages } from './apt.mjs';
import { ensureBuild } from './build.mjs';
import { ensureNpmPackages } from './npm.mjs';
import { root, runSetup } from './steps.mjs';

const args = process.argv.slice(2);

await runSetup(async () => {
  const asksForHelp = args.includes('--help') || args.includes('-h');
  if (!asksForHelp) await ensureSystemPackages('start');
  await ensureNpmPackages();
  await ensureBuild();
});

// In this very process: one less to pass signals and exit codes through.
if (process.exitCode === undefined) {
  const main = join(root, 'dist/main.js');
  process.argv = [process.execPath, main, 'dev', ...args];
  await import(pathToFileURL(main).href);
}
