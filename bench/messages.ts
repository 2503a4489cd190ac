/** What the hook costs a Prosody for each message: without it, with a warm near cache, and when a worker is asked each time. */
import { startNatsServer } from '../test/servers/nats-server.ts';
import { startMessageLoad } from './load-xmpp.ts';
import { measureInTurn, medianOf, ratioOf } from './message-rounds.ts';
import type { Contender, MessageSample } from './message-rounds.ts';
import { domain, startBenchProsody } from './prosody.ts';
import { markdownTable } from './table.ts';
import { questionsOf, startAllowService, startWorker } from './worker.ts';

const pairs = 32;
const rounds = { rounds: 5, window: 4, warmUpMs: 2_000, runMs: 1_500 };

/** What is aimed at: of the messages that a Prosody without the hook delivers. */
const aimedAt = 0.95;

const names = ['bare', 'near', 'asking'] as const;
type Name = (typeof names)[number];

const titles: Readonly<Record<Name, string>> = {
  bare: 'without the hook',
  near: 'hook, near cache warm',
  asking: 'hook, a worker asked each time',
};

interface Server extends Contender {
  readonly name: Name;
  readonly archive: boolean;
}

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
        const questions = (): Promise<number> => questionsOf(worker, 'stanza-check');
        servers.push({ name, archive, pid: prosody.pid, load, questions, samples: [] });
      }
    }
    await measureInTurn(servers, rounds);
    return report(servers);
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

function report(servers: readonly Server[]): string {
  const samplesOf = (name: Name, archive: boolean) =>
    servers.find((server) => server.name === name && server.archive === archive)?.samples ?? [];
  const ratio = (name: Name, archive: boolean, figure: keyof MessageSample) =>
    ratioOf(samplesOf(name, archive), samplesOf('bare', archive), figure);
  const percent = (part: number) => `${(part * 100).toFixed(1)} %`;
  const rows = servers.map(({ name, archive, samples }) => {
    const figure = (one: keyof MessageSample) => medianOf(samples, one);
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
