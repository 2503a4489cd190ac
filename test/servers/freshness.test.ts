/** The freshness checker with fixed seeds: what ships keeps its promises, and what is planted is found. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { faults } from '../freshness/faults.ts';
import type { FaultName } from '../freshness/faults.ts';
import { plants, sow } from '../freshness/plants.ts';
import { runChecker } from '../freshness/run.ts';
import type { RunSettings, Shown } from '../freshness/run.ts';
import { builtMain, root } from './built.ts';

const second = 1_000;

const usual: Omit<RunSettings, 'seed' | 'durationMs' | 'brokers' | 'faults'> = {
  boundMs: 600,
  faultsAtOnce: 2,
  faultGapMs: 500,
  changesPerSecond: 10,
  askers: { lua: 1, erlang: 1 },
  asksPerSecond: 800,
  budgetMs: 250,
  sourceMs: 0,
  root,
};

const allFaults = Object.keys(faults) as FaultName[];

beforeAll(() => builtMain());

/** Below this a run has shown nothing; a busy machine takes longer until it has. */
function isEnough({ verdicts, changes, applied }: Shown): boolean {
  const { lua, erlang } = verdicts.by;
  const isHit = lua.hits > 500 && erlang.hits > 500;
  const isAnswered = lua.answers > 100 && erlang.answers > 100;
  return isHit && isAnswered && changes > 20 && Object.values(applied).every((count) => count > 0);
}

describe('the promises of freshness', () => {
  const atMost = { longestMs: 180 * second, isEnough };

  it('hold with one broker, whatever fails', async () => {
    const names = allFaults.filter((name) => name !== 'leader cut off');
    const settings = { ...usual, ...atMost, seed: 1, durationMs: 25 * second, brokers: 1 as const };
    const result = await runChecker({ ...settings, faults: names });
    expect(result.verdicts.violations).toEqual([]);
    expect(result).toSatisfy(isEnough);
  }, 300_000);

  it('hold with a cluster of three brokers and three replicas, whatever fails', async () => {
    const settings = { ...usual, ...atMost, seed: 2, durationMs: 35 * second, brokers: 3 as const };
    const result = await runChecker({ ...settings, faults: allFaults });
    expect(result.verdicts.violations).toEqual([]);
    expect(result).toSatisfy(isEnough);
  }, 300_000);
});

/** Whose near cache is asked: the planted one, or in Lua where it is the worker that is planted. */
const askersOf = {
  worker: { lua: 2, erlang: 0 },
  'Lua hook': { lua: 2, erlang: 0 },
  'Erlang hook': { lua: 0, erlang: 2 },
};

it('a run whose worker ends by itself is no run, and says what it said', async () => {
  const planted = { main: join(root, 'dist/absent.js') };
  const ends = { durationMs: second, longestMs: 60 * second, isEnough: () => false };
  const running = runChecker({ ...usual, ...ends, seed: 3, brokers: 1, faults: [], planted });
  await expect(running).rejects.toThrow(/worker1: [^]*absent\.js/);
});

describe('the checker finds what was planted', () => {
  it.each(plants)(
    'into the $where: $name',
    async (plant) => {
      const { folder, planted } = sow(plant, root);
      const { seed, pace, where } = plant;
      const found = ({ verdicts }: Shown) => verdicts.violationCount > 0;
      const ends = { durationMs: second, longestMs: 120 * second, isEnough: found };
      const settings = { ...usual, ...pace, ...ends, seed, brokers: 1 as const, planted, askers: askersOf[where] };
      const result = await runChecker({ ...settings, faults: plant.faults });
      rmSync(folder, { recursive: true, force: true });
      rmSync(result.folder, { recursive: true, force: true });
      expect(result).toSatisfy(found);
    },
    240_000,
  );
});
