/** What a source is given, in tests: everything that it tells is kept. */
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { vi } from 'vitest';
import type { Change } from '../../src/changes.ts';
import { monotonicClock } from '../../src/clock.ts';
import type { SourceConfig } from '../../src/config/sources.ts';
import { sourceConfig } from '../../src/config/sources.ts';
import { createSource } from '../../src/sources/registry.ts';
import type { CallsReading, Source, SourceContext, SourceOutcome } from '../../src/sources/source.ts';

/** None takes a second, but the machine may be busy with everything else. */
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

export interface Told {
  readonly outcomes: (SourceOutcome | 'ok')[];
  readonly changes: Change[];
  readonly log: string[];
  /** How its calls can be looked at. */
  readonly calls: (() => CallsReading)[];
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
    calls: [],
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
    boundMs: 2_000,
    defaultHost: undefined,
    changed: async (change) => {
      told.changes.push(change);
      wake();
    },
    observe: (outcome) => {
      told.outcomes.push(outcome);
      wake();
    },
    expose: (read) => void told.calls.push(read),
    told,
  };
}

/** The configuration with its defaults, as the file's would have. */
export function configOf(options: object): SourceConfig {
  return sourceConfig.parse(options);
}

/** A source of these options, and what it tells. Only where a test is about time does it give up before the test does. */
export async function make(options: {
  type: string;
  [option: string]: unknown;
}): Promise<{ source: Source; told: Told }> {
  const context = testContext();
  const config = configOf(options.type === 'static' ? options : { timeout_ms: 60_000, ...options });
  return { source: await createSource(config, context), told: context.told };
}

/** A call that is never given up. */
export const patient = { signal: new AbortController().signal };
