import { describe, expect, it } from 'vitest';
import { outstandings } from '../../bench/measure.ts';
import type { Measured, Sample, Samples } from '../../bench/measure.ts';
import { median, report } from '../../bench/table.ts';

const sample: Sample = { cpuUs: 10, brokerCpuUs: 3, perSecond: 1_000, p50Us: 100, p99Us: 200 };

/** The same samples at every number of outstanding requests. */
function measured(echo: Partial<Sample>[], worker: Partial<Sample>[], foreignShare = 0): Measured {
  const at = (samples: Partial<Sample>[]) =>
    new Map(outstandings.map((one) => [one, samples.map((some) => ({ ...sample, ...some }))]));
  const samples: Samples = { echo: at(echo), worker: at(worker), http: at([{}]) };
  return { samples, replies: 12_345, foreignShare };
}

describe('median', () => {
  it('is the middle one, or lies between the middle two', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([9, 1, 5, 6])).toBe(5.5);
  });
});

describe('the report of the bench', () => {
  it('compares the worker with the echo of the same round', () => {
    // Each round is disturbed otherwise; the worker takes 1.4 times as long in all but one.
    const text = report(
      measured([{ cpuUs: 10 }, { cpuUs: 50 }, { cpuUs: 20 }], [{ cpuUs: 14 }, { cpuUs: 70 }, { cpuUs: 400 }]),
    );
    expect(text).toContain(' 70.0 (1.40) |');
    expect(text).toContain('reached: CPU time a request at most 1.5 times the echo’s: 1.40, 1.40, 1.40');
  });

  it('says what is missed', () => {
    const text = report(measured([{}], [{ cpuUs: 15.1, perSecond: 740, p50Us: 116 }]));
    expect(text.match(/MISSED/g)).toHaveLength(3);
    expect(text).not.toContain('reached');
  });

  it('says when the machine was too busy for figures that can be compared', () => {
    expect(report(measured([{}], [{}], 0.04))).toMatch(/Other programs took 4 % of this machine meanwhile\.$/);
    expect(report(measured([{}], [{}], 0.3))).toMatch(/took 30 % of this machine meanwhile: too much to compare/);
  });
});
