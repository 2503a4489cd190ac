/** What the hook costs a Prosody for each message: without it, with a warm near cache, and when a worker is asked each time. */
import { startNatsServer } from '../test/servers/nats-server.ts';
import { cpuMsOf } from './cpu.ts';
import { startMessageLoad } from './load-xmpp.ts';
import type { MessageLoad } from './load-xmpp.ts';
import { domain, startBenchProsody } from './prosody.ts';
import type { BenchProsody } from './prosody.ts';
import { markdownTable, median } from './table.ts';
import { startAllowService, startWorker } from './worker.ts';

const pairs = 32;
/** Messages of each pair under way. */
const window = 4;
const rounds = 5;
const runMs = 1_500;
const warmUpMs = 2_000;

/** What is aimed at: of the messages that a Prosody without the hook delivers. */
const aimedAt = 0.95;

const names = ['bare', 'near', 'asking'] as const;
type Name = (typeof names)[number];

const titles: Readonly<Record<Name, string>> = {
  bare: 'without the hook',
  near: 'hook, near cache warm',
  asking: 'hook, a worker asked each time',
};

interface Server {
  readonly name: Name;
  readonly archive: boolean;
  readonly prosody: BenchProsody;
  readonly load: MessageLoad;
  readonly samples: Sample[];
}

interface Sample {
  readonly perSecond: number;
  /** Of the Prosody. */
  readonly cpuUs: number;
  /** Questions that the worker was asked, a message. */
  readonly asked: number;
}

type Figure = keyof Sample;

/** Measures all in turn, and returns the table. @throws Error when a message does not arrive or nothing was remembered */
export async function messages(): Promise<string> {
  const stops: (() => unknown)[] = [];
  try {
    const broker = await startNatsServer({ jetstream: true });
    stops.push(() => broker.stop());
    const service = await startAllowService();
    stops.push(() => service.stop());
    const worker = await startWorker(broker.url, service.port);
    stops.push(() => worker.stop());
    const accounts = Array.from({ length: pairs }, (_, index) => [`sender${index}`, `recipient${index}`]).flat();
    const servers: Server[] = [];
    for (const archive of [false, true]) {
      for (const name of names) {
        const options = `warder_nats_url = "${broker.url}"\nwarder_near_cache = ${String(name === 'near')}`;
        const prosody = await startBenchProsody(accounts, archive, name === 'bare' ? undefined : options);
        stops.push(() => prosody.stop());
        const load = await startMessageLoad(prosody.port, domain, pairs);
        stops.push(() => load.stop());
        servers.push({ name, archive, prosody, load, samples: [] });
      }
    }
    for (const { load } of servers) await load.run(window, warmUpMs);
    await measure(servers, () => questionsOf(worker));
    return report(servers);
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

/** Adds a sample to each server in each round. */
async function measure(servers: readonly Server[], questions: () => Promise<number>): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    // Another one first each time.
    for (const { prosody, load, samples } of [...servers.slice(round), ...servers.slice(0, round)]) {
      const askedBefore = await questions();
      const beforeMs = cpuMsOf(prosody.pid);
      const { messages: count, seconds } = await load.run(window, runMs);
      const cpuUs = ((cpuMsOf(prosody.pid) - beforeMs) * 1_000) / count;
      samples.push({ perSecond: count / seconds, cpuUs, asked: ((await questions()) - askedBefore) / count });
    }
  }
}

/** How many stanza checks a worker has answered since its start. */
async function questionsOf(worker: { output(): string }): Promise<number> {
  const [, url = ''] = /"http":"([^"]+)"/.exec(worker.output()) ?? [];
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const [, count = '0'] =
    /^warder_request_duration_seconds_count\{operation="stanza-check"\} (\d+)$/m.exec(metrics) ?? [];
  return Number(count);
}

function report(servers: readonly Server[]): string {
  const samplesOf = (name: Name, archive: boolean) =>
    servers.find((server) => server.name === name && server.archive === archive)?.samples ?? [];
  /** To the bare one: the median of each round's own ratio, so that what disturbs a whole round falls out. */
  const ratio = (name: Name, archive: boolean, figure: Figure) => {
    const bare = samplesOf('bare', archive);
    return median(
      samplesOf(name, archive).map((sample, round) => sample[figure] / (bare[round]?.[figure] ?? Number.NaN)),
    );
  };
  const percent = (part: number) => `${(part * 100).toFixed(1)} %`;
  const rows = servers.map(({ name, archive, samples }) => {
    const figure = (one: Figure) => median(samples.map((sample) => sample[one]));
    return [
      archive ? 'archive' : 'none',
      titles[name],
      figure('asked').toFixed(3),
      Math.round(figure('perSecond')).toLocaleString('en'),
      percent(ratio(name, archive, 'perSecond')),
      figure('cpuUs').toFixed(1),
      percent(1 / ratio(name, archive, 'cpuUs')),
    ];
  });
  // Prosody has one thread: processor time is its throughput, less what else the machine does.
  const aimed = [false, true].map((archive) => {
    const found = 1 / ratio('near', archive, 'cpuUs');
    const text = `with a warm near cache, ${archive ? 'with' : 'without'} an archive, at least ${percent(aimedAt)} of the bare one's messages in the same processor time: ${percent(found)}`;
    return `- ${found >= aimedAt ? 'reached' : 'MISSED'}: ${text}`;
  });
  return [
    markdownTable(['stores', 'Prosody', 'asked', 'messages/s', 'of bare', 'CPU µs', 'CPU, of bare'], rows),
    '',
    ...aimed,
    '',
    'Asked: questions to the worker, a message. CPU: of Prosody, a message; the last column is messages a CPU second.',
  ].join('\n');
}
