/** What a source is given, in tests: everything that it tells is kept. */
import { Writable } from 'node:stream';
import { pino } from 'pino';
import type { Change } from '../../src/changes.ts';
import { monotonicClock } from '../../src/clock.ts';
import type { SourceConfig } from '../../src/config/sources.ts';
import { sourceConfig } from '../../src/config/sources.ts';
import { createSource } from '../../src/sources/registry.ts';
import type { Source, SourceContext, SourceOutcome } from '../../src/sources/source.ts';

export interface Told {
  readonly outcomes: (SourceOutcome | 'ok')[];
  readonly changes: Change[];
  readonly log: string[];
  /** Resolves once it holds; looked at whenever the source has told something. */
  until(holds: () => boolean): Promise<void>;
}

export function testContext(): SourceContext & { readonly told: Told } {
  let waiting: (() => void)[] = [];
  const wake = () => {
    const woken = waiting;
    waiting = [];
    for (const resolve of woken) resolve();
  };
  const told: Told = {
    outcomes: [],
    changes: [],
    log: [],
    async until(holds) {
      while (!holds()) await new Promise<void>((resolve) => waiting.push(resolve));
    },
  };
  const sink = new Writable({
    decodeStrings: false,
    write(line: string, _, done) {
      told.log.push(line);
      wake();
      done();
    },
  });
  return {
    name: 'under-test',
    log: pino(sink),
    clock: monotonicClock,
    changed: (change) => {
      told.changes.push(change);
      wake();
    },
    observe: (outcome) => {
      told.outcomes.push(outcome);
      wake();
    },
    told,
  };
}

/** The configuration with its defaults, as the file's would have. */
export function configOf(options: object): SourceConfig {
  return sourceConfig.parse(options);
}

/** A source of these options, and what it tells. */
export async function make(options: object): Promise<{ source: Source; told: Told }> {
  const context = testContext();
  return { source: await createSource(configOf(options), context), told: context.told };
}

/** A call that is never given up. */
export const patient = { signal: new AbortController().signal };

/** A property takes a fraction of a second; on a machine that is busy with everything else, longer. */
export const propertyTimeoutMs = 60_000;
