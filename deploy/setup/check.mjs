// `npm run check`: everything that needs no server, all of it even when something fails.
import { join } from 'node:path';
import { ensureNpmPackages } from './npm.mjs';
import { findBinary } from './packages.mjs';
import { root, run, runSetup, say, step } from './steps.mjs';

/** @param {string} path in node_modules */
const tool = (path) => [process.execPath, join(root, 'node_modules', path)];

class CheckFailed extends Error {}

const luacheck = findBinary('luacheck');

const checks = [
  { title: 'types (tsc)', command: [...tool('typescript/bin/tsc'), '--noEmit'] },
  {
    title: 'lint and import direction (oxlint)',
    command: [...tool('oxlint/bin/oxlint'), '--type-aware', '--deny-warnings'],
  },
  ...(luacheck === undefined
    ? []
    : [
        {
          title: 'lint of Lua (luacheck)',
          command: [luacheck, '-q', '--config', 'deploy/prosody/.luacheckrc', 'deploy', 'test', 'bench'],
        },
      ]),
  { title: 'formatting (prettier)', command: [...tool('prettier/bin/prettier.cjs'), '--check', '.'] },
  { title: 'unit tests (vitest)', command: [...tool('vitest/vitest.mjs'), 'run', '--project', 'unit'] },
];

await runSetup(async () => {
  await ensureNpmPackages();
  if (luacheck === undefined) say('no lint of Lua: luacheck is not installed (Debian: lua-check)');
  const failed = [];
  for (const { title, command } of checks) {
    const [file = '', ...args] = command;
    try {
      await step(title, async () => {
        const { code, output } = await run(file, args);
        if (code !== 0) throw new CheckFailed(output.trimEnd());
      });
    } catch (error) {
      if (!(error instanceof CheckFailed)) throw error;
      process.stdout.write(`${error.message}\n`);
      failed.push(title);
    }
  }
  say(failed.length === 0 ? 'all checks pass' : `failed: ${failed.join(', ')}`);
  return failed.length === 0 ? 0 : 1;
});
