/** The rounds: every responder at every number of outstanding requests, in turn, so that what disturbs one disturbs all. */
import { cpuMsOf, machineTime } from './cpu.ts';
import { runLoad } from './load.ts';
import { names } from './responders.ts';
import type { Name, Responder, Responders } from './responders.ts';

export const outstandings = [1, 64, 512] as const;
export const rounds = 7;
const runMs = 1_500;
const warmUpMs = 1_500;

/** One run of one responder. */
export interface Sample {
  readonly cpuUs: number;
  readonly brokerCpuUs: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

export type Samples = Record<Name, Map<number, Sample[]>>;

export interface Measured {
  readonly samples: Samples;
  readonly replies: number;
  /** The part of the machine's processor time that went to nobody of ours: what the figures were disturbed by. */
  readonly foreignShare: number;
}

/** @throws Error when a reply is wrong or missing */
export async function measure(load: string, responders: Responders): Promise<Measured> {
  // The worker's cache is filled with few outstanding, for its source's sake; then everybody's code gets hot.
  for (const outstanding of [8, 512]) {
    for (const { target } of responders.all) await runLoad(load, target, outstanding, warmUpMs);
  }
  const samples = Object.fromEntries(
    names.map((name) => [name, new Map(outstandings.map((outstanding) => [outstanding, []]))]),
  ) as unknown as Samples;
  const before = machineTime();
  const pids = [...responders.all.map(({ pid }) => pid), responders.broker.pid, process.pid];
  const ownMs = () => pids.reduce((sum, pid) => sum + cpuMsOf(pid), 0);
  const ownBeforeMs = ownMs();
  let loadMs = 0;
  let replies = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (const outstanding of outstandings) {
      for (const responder of responders.all) {
        const run = await runOnce(load, responder, responders.broker.pid, outstanding);
        samples[responder.name].get(outstanding)?.push(run.sample);
        loadMs += run.loadMs;
        replies += run.replies;
      }
    }
  }
  const after = machineTime();
  const foreignMs = after.busyMs - before.busyMs - (ownMs() - ownBeforeMs) - loadMs;
  return { samples, replies, foreignShare: Math.max(0, foreignMs) / (after.totalMs - before.totalMs) };
}

async function runOnce(load: string, { pid, target }: Responder, brokerPid: number, outstanding: number) {
  const beforeMs = cpuMsOf(pid);
  const brokerBeforeMs = cpuMsOf(brokerPid);
  const { replies, seconds, p50Us, p99Us, cpuMs } = await runLoad(load, target, outstanding, runMs);
  const perReplyUs = (ms: number) => (ms * 1_000) / replies;
  const sample: Sample = {
    cpuUs: perReplyUs(cpuMsOf(pid) - beforeMs),
    brokerCpuUs: perReplyUs(cpuMsOf(brokerPid) - brokerBeforeMs),
    perSecond: replies / seconds,
    p50Us,
    p99Us,
  };
  return { sample, replies, loadMs: cpuMs };
}
