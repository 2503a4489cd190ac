/** Builds the hook as it is installed and runs the EUnit modules of what needs ejabberd's library xmpp, but no ejabberd. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const application = fileURLToPath(new URL('../../deploy/ejabberd/mod_warder', import.meta.url));
const sources = readdirSync(join(application, 'test')).filter((name) => /^mod_warder_.*_tests\.erl$/.test(name));

const folder = mkdtempSync(join(tmpdir(), 'warder-test-hook-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the hook for ejabberd, built', () => {
  beforeAll(async () => {
    await run(join(application, 'build'), [folder]);
    const [xmpp] = (await run('dpkg', ['-L', 'erlang-p1-xmpp'])).stdout.match(/^\/.*\/include$/m) ?? [];
    const files = sources.map((name) => join(application, 'test', name));
    await run('erlc', ['-Wall', '-Werror', '-I', String(xmpp), '-pa', folder, '-o', folder, ...files]);
  }, 120_000);

  it.each(sources)('%s passes', { timeout: 60_000 }, async (source) => {
    const evaluate = `case eunit:test(${source.replace(/\.erl$/, '')}, []) of ok -> halt(0); _ -> halt(1) end`;
    const output = await run('erl', ['-noshell', '-pa', folder, '-eval', evaluate]).then(
      (ended) => ended.stdout,
      (error: unknown) => String(error) + (error instanceof Error && 'stdout' in error ? String(error.stdout) : ''),
    );
    expect(output).toMatch(/All \d+ tests passed\.\n$/);
  });
});
