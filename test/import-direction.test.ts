import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
let project = '';

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'warder-test-lint-'));
  copyFileSync(join(root, '.oxlintrc.json'), join(project, '.oxlintrc.json'));
});
afterAll(() => rmSync(project, { recursive: true }));

function isForbidden(file: string, statement: string): boolean {
  const path = join(project, 'src', file);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `${statement}\n`);
  const { stdout } = spawnSync(join(root, 'node_modules/.bin/oxlint'), ['--format', 'unix', path], {
    cwd: project,
    encoding: 'utf8',
  });
  return stdout.includes('no-restricted-imports');
}

describe('lint', () => {
  it.each([
    ['sources/a.ts', "import { x } from '../cache/decisions.ts';"],
    ['sources/deeper/a.ts', "import { x } from '../../cache/decisions.ts';"],
    ['cache/a.ts', "import type { X } from '../checks/stanza-check.ts';"],
    ['checks/a.ts', "export { x } from '../nats/serve.ts';"],
    ['wire/a.ts', "export const x = import('../nats/serve.ts');"],
    ['nats/a.ts', "import { x } from '../http/server.ts';"],
    ['http/a.ts', "import { x } from '../nats/serve.ts';"],
    ['checks/a.ts', "import { x } from '../worker.ts';"],
    ['nats/a.ts', "import { x } from '../commands/worker.ts';"],
    ['config/a.ts', "import { x } from '../sources/source.ts';"],
    ['observe/a.ts', "import type { X } from '../cache/decisions.ts';"],
    ['sources/a.ts', "import { x } from '../wire/codec.ts';"],
  ])('refuses in src/%s: %s', (file, statement) => {
    expect(isForbidden(file, statement)).toBe(true);
  });

  it.each([
    ['nats/a.ts', "import { x } from '../wire/codec.ts';"],
    ['nats/a.ts', "import { connect } from 'nats';"],
    ['checks/a.ts', "import { x } from '../cache/decisions.ts';"],
    ['cache/a.ts', "import { x } from '../sources/source.ts';"],
    ['cache/a.ts', "import type { X } from '../wire/codec.ts';"],
    ['sources/a.ts', "import { replySchema } from '../wire/replies.ts';"],
    ['sources/a.ts', "import { x } from '../observe/metrics.ts';"],
    ['worker.ts', "import { x } from './nats/serve.ts';"],
  ])('lets pass in src/%s: %s', (file, statement) => {
    expect(isForbidden(file, statement)).toBe(false);
  });
});
