/** Runs the hook's tests in plain Lua: each file of test/lua is one test, and its output is what a failure shows. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const folder = fileURLToPath(new URL('../lua', import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith('.lua') && name !== 'harness.lua');

describe("the Prosody hook's libraries under plain Lua", () => {
  it.each(files)('%s passes', { timeout: 60_000 }, async (file) => {
    const output = await run('lua5.4', [join(folder, file)]).then(
      (ended) => ended.stdout,
      (error: unknown) => String(error) + (error instanceof Error && 'stdout' in error ? String(error.stdout) : ''),
    );
    expect(output).toMatch(/^[1-9]\d* passed, 0 failed\n$/);
  });
});
