import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Question, Source } from '../../src/sources/source.ts';
import { parseBareJid } from '../../src/wire/jid.ts';
import { joinQuestion, sessionQuestion, stanzaQuestion } from '../questions.ts';
import { conformsAsSource } from './conformance.ts';
import { make, patient } from './context.ts';
import type { Told } from './context.ts';
import { PolicyFile } from './policy-file.ts';

const alice = parseBareJid('alice@localhost');
const denyAll = '{ default: deny }';
const texts: Record<string, string> = {
  allow: 'stanzas: { default: allow }\nrooms: { default: allow }\nsessions: { default: allow }\n',
  deny: `stanzas: ${denyAll}\nrooms: ${denyAll}\nsessions: ${denyAll}\n`,
};

function watchersOpen(): number {
  return process.getActiveResourcesInfo().filter((type) => type === 'FSEventWrap').length;
}

async function openStage(text: string) {
  const before = watchersOpen();
  const file = new PolicyFile(text);
  const { source } = await make({ type: 'static', file: file.path });
  return {
    source,
    released: async () => {
      await vi.waitUntil(() => watchersOpen() === before, { timeout: 60_000 });
    },
    clear: async () => file.remove(),
  };
}

for (const question of [stanzaQuestion(), joinQuestion(), sessionQuestion()] as Question[]) {
  conformsAsSource(`static, ${question.operation}`, {
    type: 'static',
    answers: { allow: 'allow', deny: 'deny' },
    open: (name) => openStage(texts[name] ?? ''),
    ask: async (source, call) => (await source.decide?.(question, call))?.decision.verdict,
  });
}

conformsAsSource('static, roster-refresh', {
  type: 'static',
  answers: { 'a contact': ['bob@localhost'], nobody: [] },
  open: (name) => openStage(name === 'nobody' ? '{}' : 'rosters: { alice@localhost: [bob@localhost] }'),
  ask: async (source, call) => (await source.roster?.(alice, call))?.items.map(({ jid }) => jid),
});

describe('static, when its file changes', () => {
  let file: PolicyFile;
  let source: Source;
  let told: Told;
  afterEach(async () => {
    await source.stop();
    file.remove();
  });
  /** A poll that comes too late for any test, so that the watch alone is tested. */
  const open = async (poll_ms = 3_600_000, path = 'policy.yaml') => {
    ({ source, told } = await make({ type: 'static', file: join(file.folder, path), poll_ms }));
  };
  const fresh = async (text = texts['allow'] ?? '') => {
    file = new PolicyFile(text);
    await open();
  };
  const verdict = async () => (await source.decide?.(sessionQuestion(), patient))?.decision.verdict;

  it('answers by the new policy when it is written in place, and says so only then', async () => {
    await fresh();
    expect(await verdict()).toBe('allow');
    file.write(texts['deny'] ?? '');
    await told.until(() => told.changes.length > 0);
    expect(await verdict()).toBe('deny');
    expect(told.changes).toEqual([
      { operation: 'stanza-check' },
      { operation: 'join-check' },
      { operation: 'session-check' },
    ]);
  });

  it('answers by the new policy when another file is moved over it, again and again', async () => {
    await fresh();
    for (const name of ['deny', 'allow', 'deny']) {
      const before = told.changes.length;
      file.replace(texts[name] ?? '');
      await told.until(() => told.changes.length > before);
      expect(await verdict()).toBe(name);
    }
  });

  it('answers by the new policy when a link on the way to it is turned, as Kubernetes does', async () => {
    file = new PolicyFile('');
    for (const name of ['allow', 'deny']) {
      mkdirSync(join(file.folder, name));
      writeFileSync(join(file.folder, name, 'policy.yaml'), texts[name] ?? '');
    }
    symlinkSync('allow', join(file.folder, '..data'));
    rmSync(file.path);
    symlinkSync('..data/policy.yaml', file.path);
    await open();
    symlinkSync('deny', join(file.folder, '..data_tmp'));
    renameSync(join(file.folder, '..data_tmp'), join(file.folder, '..data'));
    await told.until(() => told.changes.length > 0);
    expect(await verdict()).toBe('deny');
  });

  it('answers by the new policy where nothing can be watched, from the next poll on', async () => {
    file = new PolicyFile('');
    mkdirSync(join(file.folder, 'elsewhere'));
    const target = join(file.folder, 'elsewhere/policy.yaml');
    writeFileSync(target, texts['allow'] ?? '');
    symlinkSync(target, join(file.folder, 'linked.yaml'));
    await open(10, 'linked.yaml');
    writeFileSync(target, texts['deny'] ?? '');
    await told.until(() => told.changes.length > 0);
    expect(await verdict()).toBe('deny');
  });

  it('keeps the old policy when the new one is broken, says why, and takes the next good one', async () => {
    await fresh();
    file.write('sessions:\n  default: deny\n  denny: []\n');
    await told.until(() => told.log.some((line) => line.includes('policy.yaml:3: sessions.denny')));
    expect(await verdict()).toBe('allow');
    expect(told.changes).toEqual([]);
    file.write('sessions:\n  default: deny\n');
    await told.until(() => told.changes.length > 0);
    expect(await verdict()).toBe('deny');
  });

  it('told that something has changed it reads the file before its next answer, however late it would have noticed', async () => {
    await fresh();
    writeFileSync(file.path, texts['deny'] ?? '');
    source.readAgain?.();
    expect(await verdict()).toBe('deny');
  });

  it('does not take a file that was only emptied for a policy', async () => {
    await fresh(texts['deny']);
    file.write('');
    await told.until(() => told.log.some((line) => line.includes('is empty')));
    expect(await verdict()).toBe('deny');
  });

  it('keeps the old policy when the file is gone, and takes the one that comes after', async () => {
    await fresh();
    rmSync(file.path);
    await told.until(() => told.log.some((line) => line.includes('cannot be read')));
    expect(await verdict()).toBe('allow');
    file.write(texts['deny'] ?? '');
    await told.until(() => told.changes.length > 0);
    expect(await verdict()).toBe('deny');
  });

  it('ends with the last of many writes', async () => {
    await fresh(texts['deny']);
    const last = 'rosters: { alice@localhost: [last@localhost] }';
    for (let i = 0; i < 200; i += 1) file.write(`rosters: { alice@localhost: [contact${i}@localhost] }`);
    file.write(last);
    await told.until(() => told.log.filter((line) => line.includes('policy loaded')).length > 0);
    await vi.waitUntil(async () => (await source.roster?.(alice, patient))?.items[0]?.jid === 'last@localhost', {
      timeout: 60_000,
    });
  });

  it('names users and rooms when nothing else has changed', async () => {
    await fresh(
      'rooms: { default: deny, list: { a@r: {}, b@r: {} } }\nrosters: { alice@localhost: [], bob@localhost: [] }',
    );
    file.replace(
      'rooms: { default: deny, list: { a@r: {}, c@r: {} } }\nrosters: { alice@localhost: [bob@localhost], bob@localhost: [] }',
    );
    await told.until(() => told.changes.length === 3);
    expect(told.changes).toEqual([{ room: 'b@r' }, { room: 'c@r' }, { user: 'alice@localhost' }]);
  });

  it('says nothing when only a comment has changed', async () => {
    await fresh(texts['allow']);
    file.write(`# edited\n${texts['allow']}`);
    await told.until(() => told.log.some((line) => line.includes('policy loaded')));
    expect(told.changes).toEqual([]);
  });
});

describe('static, at its start', () => {
  it('does not start without its file', async () => {
    await expect(make({ type: 'static', file: '/nonexistent/policy.yaml' })).rejects.toThrow(
      '/nonexistent/policy.yaml',
    );
  });

  it('does not start with a broken file, names path and line, and leaves nothing open', async () => {
    const before = watchersOpen();
    const file = new PolicyFile('stanzas:\n  default: allow\n  deny:\n    - { form: mallory@localhost }\n');
    await expect(make({ type: 'static', file: file.path })).rejects.toThrow(
      `${file.path}:4: stanzas.deny[0].form: is unknown here; did you mean from?`,
    );
    await vi.waitUntil(() => watchersOpen() === before, { timeout: 60_000 });
    file.remove();
  });

  it('starts with the policy that comes with it', async () => {
    const path = join(import.meta.dirname, '../../deploy/dev/policy.yaml');
    const file = new PolicyFile(readFileSync(path, 'utf8'));
    const { source } = await make({ type: 'static', file: file.path });
    const mallory = { from: 'mallory@localhost/x' };
    const decided = [
      stanzaQuestion(),
      stanzaQuestion(mallory),
      joinQuestion(),
      joinQuestion({ user: 'mallory@localhost/x' }),
    ];
    const verdicts = await Promise.all(
      decided.map(async (question) => (await source.decide?.(question, patient))?.decision.verdict),
    );
    expect(verdicts).toEqual(['allow', 'deny', 'allow', 'deny']);
    await source.stop();
    file.remove();
  });
});
