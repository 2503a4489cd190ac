/** What the hook costs an ejabberd for each message, beside none, a worker asked each time, and an HTTP service asked. */
import { fileURLToPath } from 'node:url';
import { startNatsServer } from '../test/servers/nats-server.ts';
import { startProcess } from '../test/servers/process.ts';
import { domain, startBenchEjabberd } from './ejabberd-server.ts';
import type { BuiltModules } from './ejabberd-server.ts';
import { startMessageLoad } from './load-xmpp.ts';
import { measureInTurn, medianOf, ratioOf } from './message-rounds.ts';
import type { Contender, MessageSample } from './message-rounds.ts';
import { markdownTable } from './table.ts';
import { questionsOf, startAllowService, startWorker } from './worker.ts';

const pairs = 32;
const rounds = { rounds: 15, window: 4, warmUpMs: 2_000, runMs: 1_000 };

/** What is aimed at: of the messages that an ejabberd without the hook delivers. */
const aimedAt = 0.9;

const names = ['bare', 'near', 'asking', 'http'] as const;
type Name = (typeof names)[number];

const titles: Readonly<Record<Name, string>> = {
  bare: 'no module',
  near: 'hook, near cache warm',
  asking: 'hook, a worker asked each time',
  http: 'an HTTP service asked each time',
};

interface Server extends Contender {
  readonly name: Name;
}

/** Measures all in turn, and returns the table. @throws Error when a message does not arrive or was not asked about */
export async function ejabberdMessages(built: BuiltModules): Promise<string> {
  const stops: (() => unknown)[] = [];
  try {
    const broker = await startNatsServer({ jetstream: true });
    stops.push(() => broker.stop());
    const allowing = await startAllowService();
    stops.push(() => allowing.stop());
    const worker = await startWorker(broker.url, allowing.port);
    stops.push(() => worker.stop());
    const script = fileURLToPath(new URL('./filter-service.js', import.meta.url));
    const service = await startProcess({ command: process.execPath, args: [script], ready: /ready on \d+/ });
    stops.push(() => service.stop());
    const serviceUrl = `http://127.0.0.1:${/ready on (\d+)/.exec(service.output())?.[1] ?? ''}`;

    const ofWorker = (): Promise<number> => questionsOf(worker, 'stanza-check');
    const hook = (near_cache: boolean) => ({
      mod_warder: { nats_url: broker.url, checks: ['stanza-check'], near_cache },
    });
    const ways: Readonly<Record<Name, [Readonly<Record<string, unknown>>, () => Promise<number>]>> = {
      bare: [{}, () => Promise.resolve(0)],
      near: [hook(true), ofWorker],
      asking: [hook(false), ofWorker],
      http: [
        { mod_http_check: { url: `${serviceUrl}/` } },
        async () => Number(await (await fetch(`${serviceUrl}/count`)).text()),
      ],
    };
    const accounts = Array.from({ length: pairs }, (_, index) => [`sender${index}`, `recipient${index}`]).flat();
    const servers: Server[] = [];
    for (const name of names) {
      const [checking, questions] = ways[name];
      const ejabberd = await startBenchEjabberd(built, accounts, checking);
      stops.push(() => ejabberd.stop());
      const load = await startMessageLoad(ejabberd.port, domain, pairs);
      stops.push(() => load.stop());
      servers.push({ name, pid: ejabberd.pid, load, questions, samples: [] });
    }
    await measureInTurn(servers, rounds);
    return report(servers);
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

/** @throws Error when messages passed that nobody was asked about: a check that fails would look fast */
function report(servers: readonly Server[]): string {
  const samplesOf = (name: Name) => servers.find((server) => server.name === name)?.samples ?? [];
  const ratio = (name: Name, figure: keyof MessageSample) => ratioOf(samplesOf(name), samplesOf('bare'), figure);
  const percent = (part: number) => `${(part * 100).toFixed(1)} %`;
  const rows = servers.map(({ name, samples }) => {
    const figure = (one: keyof MessageSample) => medianOf(samples, one);
    const asked = figure('asked');
    if ((name === 'asking' || name === 'http') && Math.abs(asked - 1) > 0.01) {
      throw new Error(`${titles[name]}: ${asked.toFixed(3)} questions a message`);
    }
    return [
      titles[name],
      asked.toFixed(3),
      Math.round(figure('perSecond')).toLocaleString('en'),
      percent(ratio(name, 'perSecond')),
      figure('p50Ms').toFixed(1),
      figure('p99Ms').toFixed(1),
      figure('cpuUs').toFixed(1),
      percent(1 / ratio(name, 'cpuUs')),
    ];
  });
  const found = ratio('near', 'perSecond');
  const aim = `with a warm near cache at least ${percent(aimedAt)} of the messages without a module: ${percent(found)}`;
  const head = ['ejabberd', 'asked', 'messages/s', 'of bare', 'p50 ms', 'p99 ms', 'CPU µs', 'CPU, of bare'];
  return [
    markdownTable(head, rows),
    '',
    `- ${found >= aimedAt ? 'reached' : 'MISSED'}: ${aim}`,
    '',
    'Asked: questions, a message. CPU: of ejabberd, a message; the last column is messages a CPU second.',
  ].join('\n');
}
