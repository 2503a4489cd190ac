import { describe, expect, it } from 'vitest';
import { HookCounts } from '../../src/observe/hook-counts.ts';
import type { HookReport } from '../../src/wire/hook-stats.ts';
import { ManualClock } from '../clock.ts';

const report = (name: string, more: Partial<HookReport> = {}): HookReport => ({
  v: 1,
  boot_id: `boot-of-${name}`,
  name,
  kind: 'prosody',
  version: '0.1.0',
  number: 1,
  operations: {},
  ...more,
});

describe('what hooks have counted', () => {
  it('is added up by node, operation and word', () => {
    const counts = new HookCounts(new ManualClock());
    const operations = {
      'stanza-check': {
        verdicts: { allow: 2, deny: 1 },
        remembered: { allow: 40 },
        failures: { timeout: 3 },
        fallbacks: { allow: 3 },
      },
    };
    counts.count(report('one', { operations, near_cache: { hits: 40, misses: 6 } }));
    counts.count(report('one', { operations }));
    counts.count(report('two', { operations: { 'join-check': { verdicts: { deny: 1 } } } }));
    expect([...counts.decided.worker.all()]).toEqual([
      { node: 'one', operation: 'stanza-check', word: 'allow', count: 4 },
      { node: 'one', operation: 'stanza-check', word: 'deny', count: 2 },
      { node: 'two', operation: 'join-check', word: 'deny', count: 1 },
    ]);
    expect([...counts.decided['near-cache'].all()]).toMatchObject([{ word: 'allow', count: 80 }]);
    expect([...counts.failures.all()]).toMatchObject([{ word: 'timeout', count: 6 }]);
    expect([...counts.fallbacks.all()]).toMatchObject([{ word: 'allow', count: 6 }]);
    expect([...counts.nearCache.all()].find(({ word }) => word === 'hit')).toMatchObject({ node: 'one', count: 40 });
  });

  it('has no label that a hook could make up but its name', () => {
    const counts = new HookCounts(new ManualClock());
    counts.count(
      report('one', {
        operations: {
          'alice@localhost': { verdicts: { 'bob@localhost': 1 }, failures: { sulking: 2 }, fallbacks: { cry: 3 } },
        },
      }),
    );
    counts.heard(report('one', { kind: 'my own' }));
    for (const sums of [counts.decided.worker, counts.failures, counts.fallbacks]) {
      expect([...sums.all()]).toMatchObject([{ operation: 'other', word: 'other' }]);
    }
    expect(counts.states()).toMatchObject([{ kind: 'other' }]);
  });

  it('is counted for one more node, other, beyond ten thousand', () => {
    const counts = new HookCounts(new ManualClock());
    const operations = { 'stanza-check': { verdicts: { allow: 1 } } };
    for (let node = 0; node < 10_002; node += 1) counts.count(report(`node-${node}`, { operations }));
    const sums = [...counts.decided.worker.all()];
    expect(sums).toHaveLength(10_001);
    expect(sums.at(-1)).toMatchObject({ node: 'other', count: 2 });
  });
});

describe('how hooks stand', () => {
  it('is what each said last, and is gone 30 seconds after that', () => {
    const clock = new ManualClock();
    const counts = new HookCounts(clock);
    counts.heard(report('one', { gauges: { near_cache_entries: 5 } }));
    counts.heard(report('two'));
    clock.advance(20_000);
    counts.heard(report('one', { gauges: { near_cache_entries: 7 } }));
    expect(counts.states()).toMatchObject([{ node: 'one', gauges: { near_cache_entries: 7 } }, { node: 'two' }]);
    clock.advance(10_001);
    expect(counts.states()).toMatchObject([{ node: 'one' }]);
    clock.advance(20_000);
    expect(counts.states()).toEqual([]);
  });
});
