/**
 * A policy in a file that a person edits: read at start, and again whenever it changes. A file that is broken at start
 * is an error; one that breaks later leaves the last good policy in force and says why in the log.
 *
 * Several workers read the same file and each notices an edit in its own time. The first says so to all; whoever hears of
 * it reads the file again before its next answer, so that no worker decides by the old policy after the news.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ConfigInvalid } from '../config/problems.ts';
import type { StaticConfig } from '../config/sources.ts';
import { FileWatch } from './file-watch.ts';
import type { Source, SourceContext } from './source.ts';
import { changesBetween } from './static-diff.ts';
import { answerOf, identityOf, rosterIn } from './static-policy.ts';
import { parsePolicy } from './static-schema.ts';

/** @throws ConfigInvalid when the file is broken, or the error of reading it. */
export async function createStaticSource(config: StaticConfig, context: SourceContext): Promise<Source> {
  const { log } = context;
  const file = resolve(config.file);
  const watch = new FileWatch(file, { pollMs: config.poll_ms, log, maybeChanged: reload });
  let isUnread = false;
  let reading = Promise.resolve();
  let text = '';
  let policy: ReturnType<typeof parsePolicy>;

  /** One reading at a time: an older one must not end after a newer. */
  function reload(): Promise<void> {
    isUnread = false;
    reading = reading.then(read);
    return reading;
  }

  async function current(): Promise<ReturnType<typeof parsePolicy>> {
    await (isUnread ? reload() : reading);
    return policy;
  }

  async function read(): Promise<void> {
    try {
      const found = await readFile(file, 'utf8');
      if (found === text) return;
      text = found;
      const before = policy;
      policy = parsePolicy(found, config.file);
      const changes = changesBetween(before, policy);
      log.info({ file, changes: changes.length }, 'policy loaded');
      for (const change of changes) void context.changed(change, `${config.file} was edited`);
    } catch (error) {
      if (error instanceof ConfigInvalid) {
        for (const line of error.message.split('\n')) log.error(`${line} (the last good policy stays in force)`);
      } else log.error({ file, err: error }, 'policy file cannot be read: the last good policy stays in force');
    }
  }

  await watch.start(async () => {
    text = await readFile(file, 'utf8');
    policy = parsePolicy(text, config.file);
  });

  return {
    name: context.name,
    type: config.type,
    identity: identityOf,
    decide: async (question) => answerOf(await current(), question),
    roster: async (user) => rosterIn(await current(), user),
    readAgain: () => {
      isUnread = true;
    },
    stop: () => watch.stop(),
  };
}
