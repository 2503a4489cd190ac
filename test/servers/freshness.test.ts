/** The freshness checker with fixed seeds: what ships keeps its promises, and what is planted is found. */
import { rmSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { faults } from '../freshness/faults.ts';
import type { FaultName } from '../freshness/faults.ts';
import { plants, sow } from '../freshness/plants.ts';
import { runChecker } from '../freshness/run.ts';
import type { RunResult, RunSettings } from '../freshness/run.ts';
import { builtMain, root } from './built.ts';

const second = 1_000;

const usual: Omit<RunSettings, 'seed' | 'durationMs' | 'brokers' | 'faults'> = {
  boundMs: 600,
  faultsAtOnce: 2,
  faultGapMs: 500,
  changesPerSecond: 10,
  askers: 2,
  asksPerSecond: 800,
  budgetMs: 250,
  sourceMs: 0,
  root,
};

const allFaults = Object.keys(faults) as FaultName[];

beforeAll(() => builtMain());

function expectEnough({ verdicts, changes, applied }: RunResult): void {
  expect(verdicts.hits).toBeGreaterThan(500);
  expect(verdicts.answers).toBeGreaterThan(100);
  expect(changes).toBeGreaterThan(20);
  for (const [name, count] of Object.entries(applied)) expect([name, count > 0]).toEqual([name, true]);
}

describe('the promises of freshness', () => {
  it('hold with one broker, whatever fails', async () => {
    const names = allFaults.filter((name) => name !== 'leader cut off');
    const result = await runChecker({ ...usual, seed: 1, durationMs: 25 * second, brokers: 1, faults: names });
    expectEnough(result);
    expect(result.verdicts.violations).toEqual([]);
  }, 120_000);

  it('hold with a cluster of three brokers and three replicas, whatever fails', async () => {
    const result = await runChecker({ ...usual, seed: 2, durationMs: 35 * second, brokers: 3, faults: allFaults });
    expectEnough(result);
    expect(result.verdicts.violations).toEqual([]);
  }, 150_000);
});

describe('the checker finds what was planted', () => {
  it.each(plants)(
    '$name',
    async (plant) => {
      const { folder, ...planted } = sow(plant, root);
      const { seed, pace } = plant;
      const settings = { ...usual, ...pace, seed, durationMs: 15 * second, brokers: 1 as const, planted };
      const result = await runChecker({ ...settings, faults: plant.faults });
      rmSync(folder, { recursive: true, force: true });
      rmSync(result.folder, { recursive: true, force: true });
      expect(result.verdicts.violationCount).toBeGreaterThan(0);
    },
    90_000,
  );
});
