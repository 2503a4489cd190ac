/** Builds what the Erlang hooks share with erlc alone and runs its EUnit modules; their output is what a failure shows. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const application = fileURLToPath(new URL('../../deploy/ejabberd/mod_warder', import.meta.url));
const vectors = fileURLToPath(new URL('../vectors/wire.json', import.meta.url));
const sources = readdirSync(join(application, 'test')).filter((name) => /^warder_.*\.erl$/.test(name));
const modules = sources.filter((name) => name.endsWith('_tests.erl')).map((name) => name.replace(/\.erl$/, ''));

const folder = mkdtempSync(join(tmpdir(), 'warder-test-erlang-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('what the Erlang hooks share, built by erlc', () => {
  beforeAll(async () => {
    await run(join(application, 'build'), ['--client-only', folder]);
    const files = sources.map((name) => join(application, 'test', name));
    await run('erlc', ['-Wall', '-Werror', '-pa', folder, '-o', folder, ...files]);
  }, 120_000);

  it.each(modules)('%s passes', { timeout: 180_000 }, async (name) => {
    const evaluate = `case eunit:test(${name}, []) of ok -> halt(0); _ -> halt(1) end`;
    // Without a node name no epmd is started.
    const output = await run('erl', ['-noshell', '-pa', folder, '-eval', evaluate], {
      env: { ...process.env, WARDER_VECTORS: vectors },
      maxBuffer: 64 * 1024 * 1024,
    }).then(
      (ended) => ended.stdout,
      (error: unknown) => String(error) + (error instanceof Error && 'stdout' in error ? String(error.stdout) : ''),
    );
    expect(output).toMatch(/All \d+ tests passed\.\n$/);
  });
});
