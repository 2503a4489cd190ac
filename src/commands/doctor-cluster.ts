/** `warder doctor` among workers and hooks: who is there, of which version, what they have seen, and whether they answer. */
import { randomBytes } from 'node:crypto';
import { NatsError } from 'nats';
import type { NatsConnection } from 'nats';
import { readAnnouncement, seenSubject } from '../nats/members.ts';
import type { Announcement, MembersReport } from '../nats/members.ts';
import { requestSubject } from '../nats/subjects.ts';
import { version } from '../version.ts';
import type { StatsReport, WorkerData } from '../wire/service-stats.ts';
import { takeSample } from './cluster-sample.ts';
import { durationWords } from './explain-decision.ts';
import { watchMembers } from './flush-wait.ts';
import type { Findings } from './findings.ts';

const startOne = 'start one: warder worker --config FILE; or give --prefix, if theirs is another';
/** Nobody hastens to report a tick: what has been seen is said every second. */
const reportMs = 2_500;
const questionMs = 1_000;
/** So that each worker gets one. The broker chooses at random: of two, each is left out once in 60,000 times. */
const questionsEach = 8;
const maxQuestions = 400;
const nearlyFull = 0.9;
/** Of the decisions of a node that were fallbacks. */
const manyFallbacks = 0.01;

/** Follows who says that he is there, from now on. */
export function followAnnouncements(nats: NatsConnection, prefix: string) {
  const known = new Map<string, Announcement>();
  const subscription = nats.subscribe(seenSubject(prefix), {
    callback: (error, message) => {
      const said = error === null ? readAnnouncement(message.data) : undefined;
      if (said !== undefined) known.set(said.boot_id, said);
    },
  });
  return { known, stop: () => subscription.unsubscribe() };
}

/**
 * All that workers tell whoever may ask them.
 * @returns how many there are, and who is there as one of them knows it
 */
export async function examineWorkers(nats: NatsConnection, prefix: string, findings: Findings) {
  const { workers, members } = await takeSample(nats, prefix);
  if (workers.length === 0) {
    findings.fail('workers', `none answers with the prefix ${prefix}`, startOne);
    return { count: 0, members: undefined };
  }
  judgeVersions('workers', workers, findings);
  if (workers.length === 1)
    findings.note('workers', 'there is one: while it is replaced, hooks use their fallbacks', 'run two or more');
  for (const { data } of workers) if (data !== undefined) judgeWorker(data, findings);
  judgeSources(workers, findings);
  judgeFallbacks(workers, findings);
  const known = members?.members.filter(({ kind }) => kind === 'worker').length ?? 0;
  return { count: Math.max(workers.length, known), members: members?.members };
}

function judgeVersions(about: string, all: readonly { version: string }[], findings: Findings): void {
  const counts = new Map<string, number>();
  for (const one of all) counts.set(one.version, (counts.get(one.version) ?? 0) + 1);
  const words = [...counts].toSorted().map(([of, count]) => `${count} of version ${of}`);
  if (counts.size > 1)
    findings.warn(about, words.join(', '), 'finish the upgrade: mixed versions are for the time that it takes');
  else if (counts.has(version)) findings.ok(about, words.join());
  else findings.note(about, `${words.join()}, and this command is ${version}`, 'use the same for both');
}

function judgeWorker({ name, freshness, in_flight, max_in_flight }: WorkerData, findings: Findings): void {
  const { jetstream, age_ms, bound_ms } = freshness;
  if (jetstream && (age_ms ?? Infinity) > bound_ms) {
    const age = age_ms === undefined ? 'there is none yet' : `the last is ${durationWords(age_ms)} old`;
    findings.warn(
      'freshness',
      `${name} has no recent proof (${age}): it serves nothing from memory`,
      'see its log: are its ticks acknowledged?',
    );
  }
  if (in_flight >= nearlyFull * max_in_flight)
    findings.warn(
      'load',
      `${name} has ${in_flight} of ${max_in_flight} requests in flight, and refuses more`,
      'is a source slow? Else start more workers',
    );
}

function judgeSources(workers: readonly StatsReport[], findings: Findings): void {
  const open = new Map<string, string[]>();
  for (const { data } of workers) {
    for (const { source, breaker } of data?.sources ?? []) {
      if (breaker !== 'closed') open.set(source, [...(open.get(source) ?? []), data?.name ?? '']);
    }
  }
  for (const [source, names] of open)
    findings.fail(
      'source',
      `${source}: its circuit is open on ${names.join(', ')}`,
      'it failed again and again; the log of the workers says how',
    );
}

function judgeFallbacks(workers: readonly StatsReport[], findings: Findings): void {
  const sums = new Map<string, { fallbacks: number; all: number }>();
  for (const { data } of workers) {
    for (const [node, { decided, remembered, fallbacks }] of Object.entries(data?.hooks ?? {})) {
      const sum = sums.get(node) ?? { fallbacks: 0, all: 0 };
      sums.set(node, { fallbacks: sum.fallbacks + fallbacks, all: sum.all + decided + remembered + fallbacks });
    }
  }
  for (const [node, { fallbacks, all }] of sums)
    if (fallbacks > manyFallbacks * all)
      findings.warn(
        'fallbacks',
        `${node} has used its fallback in ${fallbacks} of ${all} decisions since the workers run`,
        'see warder_hook_failures_total by node for why: a budget that is too short, a source that is down, no worker',
      );
}

/** @param members as a worker has told, or as they were heard */
export function examineHooks(members: MembersReport['members'] | readonly Announcement[], findings: Findings): void {
  const hooks = members.filter(({ kind }) => kind === 'hook');
  if (hooks.length === 0) {
    findings.warn(
      'hooks',
      'none is heard',
      'load mod_warder in the XMPP servers, with this NATS server and this prefix',
    );
    return;
  }
  const told = new Map<string, { version: string }[]>();
  for (const hook of hooks) {
    const { version: of } = hook;
    const server = 'server' in hook && typeof hook.server === 'string' ? hook.server : undefined;
    if (server !== undefined && of !== undefined) told.set(server, [...(told.get(server) ?? []), { version: of }]);
  }
  for (const [server, versions] of told) judgeVersions(server, versions, findings);
  const silent = hooks.length - [...told.values()].flat().length;
  if (silent > 0)
    findings.note(
      'hooks',
      `${silent} of ${hooks.length} have not told their version`,
      'they do every five seconds, if they are new enough',
    );
}

/**
 * Has a change made, and says who has reported it in time and who has not.
 * @param change its number; undefined where it got none
 */
export async function judgeReach(
  nats: NatsConnection,
  prefix: string,
  change: () => Promise<number | undefined>,
  findings: Findings,
): Promise<void> {
  const members = await watchMembers(nats, prefix).catch((error: unknown) => {
    if (error instanceof NatsError) return undefined;
    throw error;
  });
  if (members === undefined)
    findings.fail('members', 'no worker says who is there', 'one that takes questions does not answer them: see below');
  const number = await change();
  if (members === undefined || number === undefined) return;
  const { silent, reported } = await members.untilReached(number, reportMs);
  for (const { kind, name, seen } of silent)
    findings.warn(
      'seen',
      `${kind} ${name} has not reported the change of just now; its last is ${seen}`,
      'it serves nothing old, but forgets and asks each time: is it stopped, overloaded or cut off?',
    );
  if (silent.length === 0)
    findings.ok('seen', `all ${reported.length} workers and hooks have reported the change of just now`);
}

/** Asks for the rosters of nobody: answered by whichever worker gets it, of no source, and about no user. */
export async function askThemselves(
  nats: NatsConnection,
  prefix: string,
  workers: number,
  findings: Findings,
): Promise<void> {
  const times = Math.min(questionsEach * workers, maxQuestions);
  const answers = await Promise.all(Array.from({ length: times }, () => askForNobody(nats, prefix)));
  const failures = answers.filter((answer) => typeof answer === 'string');
  const tookMs = answers.filter((answer) => typeof answer === 'number');
  if (failures.length === 0)
    findings.ok('questions', `${times} of ${times} are answered, the slowest in ${durationWords(Math.max(...tookMs))}`);
  else
    findings.fail(
      'questions',
      `${failures.length} of ${times} were not answered: ${[...new Set(failures)].join(', ')}`,
      'a worker takes questions and does not answer: warder top shows which one is silent; end it',
    );
}

/** How long it took; or what came instead of an answer. */
async function askForNobody(nats: NatsConnection, prefix: string): Promise<number | string> {
  const began = performance.now();
  const id = randomBytes(12).toString('base64url');
  const question = JSON.stringify({ v: 1, id, server: 'warder doctor', budget_ms: questionMs, users: [] });
  try {
    const subject = requestSubject(prefix, 'roster-refresh');
    const answer = (await nats.request(subject, question, { timeout: questionMs })).json<Record<string, unknown>>();
    if (answer['status'] === 'ok' && answer['id'] === id) return performance.now() - began;
    return typeof answer['failure'] === 'string' ? answer['failure'] : 'no reply of the protocol';
  } catch (error) {
    if (error instanceof NatsError) return error.message;
    if (error instanceof SyntaxError) return 'no reply of the protocol';
    throw error;
  }
}
