/** One run of the checker: starts everything, changes and breaks it for a while, and holds what was told against the promises. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { askerKinds, newAsker, prepareAskers } from './askers.ts';
import type { Asker, AskerKind } from './askers.ts';
import { startBrokers } from './brokers.ts';
import { Changer } from './changer.ts';
import type { MadeChange } from './changer.ts';
import { makeWay, Worker } from './clients.ts';
import type { Client } from './clients.ts';
import { pause } from './clock.ts';
import { faults } from './faults.ts';
import type { FaultName, Theatre } from './faults.ts';
import { judge, noVerdicts } from './history.ts';
import type { Verdicts } from './history.ts';
import { Promises } from './promises.ts';
import { Random } from './random.ts';
import { startTruth } from './truth.ts';

export interface RunSettings {
  readonly seed: number;
  /** At least so long; and then until it has shown enough, but no longer than `longestMs`. */
  readonly durationMs: number;
  readonly longestMs?: number;
  /** Absent: what it has shown when the duration is over is enough. */
  readonly isEnough?: (shown: Shown) => boolean;
  readonly brokers: 1 | 3;
  readonly boundMs: number;
  readonly faults: readonly FaultName[];
  /** How many faults are under way at once, and how long after one ends the next begins, at most. */
  readonly faultsAtOnce: number;
  readonly faultGapMs: number;
  readonly changesPerSecond: number;
  readonly askers: Record<AskerKind, number>;
  readonly asksPerSecond: number;
  /** How long the application takes for an answer, at most, when nothing is wrong with it. */
  readonly sourceMs: number;
  /** How long an asker waits for a worker. */
  readonly budgetMs: number;
  /** The project's folder: dist, the askers' script and the hook's files are in it. */
  readonly root: string;
  /** A worker, or a hook's folder, with a planted fault instead of what ships. */
  readonly planted?: Planted;
  readonly say?: (line: string) => void;
}

export interface Planted {
  readonly main?: string;
  readonly luaHook?: string;
  readonly erlangHook?: string;
}

/** What there is to see of a run while it goes on. */
export interface Shown {
  readonly verdicts: Verdicts;
  /** Those that were acknowledged. */
  readonly changes: number;
  readonly applied: Record<string, number>;
}

export interface RunResult extends Shown {
  /** Questions that reached the application. */
  readonly sourceAsked: number;
  readonly lost: number;
  /** Where the histories are; kept when a promise was broken. */
  readonly folder: string;
}

const prefix = 'freshness.check';
const workerCount = 3;
const lookEveryMs = 1_000;

export async function runChecker(settings: RunSettings): Promise<RunResult> {
  const { seed, root, boundMs, planted = {}, say = () => undefined } = settings;
  const folder = mkdtempSync(join(tmpdir(), 'warder-freshness-'));
  const random = new Random(seed);
  const releases: (() => Promise<void>)[] = [];
  const release = async () => {
    for (const one of releases.splice(0).toReversed()) await one();
  };
  try {
    const truth = await startTruth(new Random(seed + 1));
    releases.push(() => truth.stop());
    truth.slow(settings.sourceMs);
    const brokers = await startBrokers(settings.brokers);
    releases.push(() => brokers.stop());
    const ports = brokers.servers.map(({ port }) => port);
    const workerSettings = {
      main: planted.main ?? join(root, 'dist/main.js'),
      prefix,
      truthUrl: truth.url,
      boundMs,
      replicas: settings.brokers,
    };
    let added = 0;
    const addWorker = async () => {
      added += 1;
      const worker = new Worker(`worker${added}`, await makeWay(ports), folder, workerSettings);
      worker.start();
      return worker;
    };
    const workers: Worker[] = [];
    const askers: Asker[] = [];
    releases.push(async () => void (await Promise.all([...workers, ...askers].map((client) => client.release()))));
    for (let index = 0; index < workerCount; index += 1) workers.push(await addWorker());
    const code = await prepareAskers(root, folder, {
      luaHook: planted.luaHook ?? join(root, 'deploy/prosody/mod_warder'),
      erlangHook: planted.erlangHook ?? join(root, 'deploy/ejabberd/mod_warder'),
    });
    const kinds = askerKinds.flatMap((kind) => Array.from({ length: settings.askers[kind] }, () => kind));
    for (const [index, kind] of kinds.entries()) {
      const asker = newAsker(kind, code, `${kind}${index + 1}`, await makeWay(ports), folder, {
        prefix,
        boundMs,
        perSecond: settings.asksPerSecond,
        budgetMs: settings.budgetMs,
        seed: seed + index,
      });
      askers.push(asker);
      asker.start();
    }
    const changer = new Changer(truth, new Random(seed + 2), prefix, settings.changesPerSecond);
    await changer.start(brokers.servers.map(({ url }) => url));
    const { sourceMs } = settings;
    const theatre: Theatre = { sourceMs, random, brokers, workers, askers, truth, prefix, boundMs, addWorker };
    const judged = () => judgeAll(askers, changer.made, boundMs);
    const applied = await breakThings(theatre, settings, judged, changer.made, say);
    await changer.stop();
    await Promise.all(askers.map((asker) => asker.end()));
    const lost = [...workers, ...askers].flatMap(({ way }) => way.proxies).reduce((sum, proxy) => sum + proxy.lost, 0);
    const sourceAsked = truth.asked;
    await release();
    const verdicts = await judged();
    if (verdicts.violationCount === 0) rmSync(folder, { recursive: true, force: true });
    return { verdicts, changes: changer.made.length, applied, sourceAsked, lost, folder };
  } catch (error) {
    await release();
    throw error;
  }
}

/** What was told so far, held against what was acknowledged so far: what breaks a promise now breaks it at the end, too. */
async function judgeAll(askers: readonly Asker[], made: readonly MadeChange[], boundMs: number): Promise<Verdicts> {
  const promises = new Promises(made, boundMs);
  const verdicts = noVerdicts();
  for (const { kind, histories } of askers) {
    for (const file of histories) if (existsSync(file)) await judge(file, kind, promises, verdicts);
  }
  return verdicts;
}

/** Applies faults until the run is over; each kind in turn, in an order made anew each round, so that none is forgotten. */
async function breakThings(
  theatre: Theatre,
  settings: RunSettings,
  judged: () => Promise<Verdicts>,
  made: readonly MadeChange[],
  say: (line: string) => void,
) {
  const applied: Record<string, number> = Object.fromEntries(settings.faults.map((name) => [name, 0]));
  const { durationMs, longestMs = durationMs, isEnough = () => true } = settings;
  const begunAtMs = performance.now();
  const clients = [...theatre.workers, ...theatre.askers];
  const hasEnded = ({ endedByItself }: Client): boolean => endedByItself !== undefined;
  const over = new AbortController();
  const watch = async () => {
    await pause(durationMs);
    while (performance.now() - begunAtMs < longestMs && !clients.some(hasEnded)) {
      if (isEnough({ verdicts: await judged(), changes: made.length, applied })) break;
      await pause(lookEveryMs);
    }
    over.abort();
  };
  let round: FaultName[] = [];
  const next = (): FaultName => {
    if (round.length === 0) round = shuffled(settings.faults, theatre.random);
    return round.pop() ?? theatre.random.pick(settings.faults);
  };
  const work = async () => {
    while (!over.signal.aborted) {
      await pause(theatre.random.next() * settings.faultGapMs);
      if (settings.faults.length === 0) continue;
      const name = next();
      try {
        await faults[name](theatre);
        applied[name] = (applied[name] ?? 0) + 1;
      } catch (error) {
        say(`${name}: left out, ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  await Promise.all([watch(), ...Array.from({ length: settings.faultsAtOnce }, work)]);
  const ended = clients.filter(hasEnded).map(({ endedByItself }) => endedByItself);
  if (ended.length > 0) throw new Error(`ended without being told to: ${ended.join('; ')}`);
  return applied;
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items];
  const mixed: T[] = [];
  while (left.length > 0) mixed.push(...left.splice(random.below(left.length), 1));
  return mixed;
}
