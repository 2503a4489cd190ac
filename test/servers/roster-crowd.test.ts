/**
 * Five thousand users online at one Prosody, and everything that makes all of their rosters due at once: the application
 * behind two workers is asked with bounded concurrency, and no client ever loses a contact that it has.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startCrowd } from './crowd.ts';
import type { Crowd, Member } from './crowd.ts';
import { scrape } from './metrics.ts';
import type { Sample } from './metrics.ts';
import type { RosterApplication } from './roster-application.ts';
import { itemsIn, rosterQuery, startRosterScene } from './roster-scene.ts';
import type { RosterScene } from './roster-scene.ts';

/** Against hangs only: a busy machine takes its time. */
const hangMs = 300_000;
vi.setConfig({ testTimeout: hangMs });

const size = 5_000;
const host = 'a.test';
/** Of each worker's source. */
const maxConcurrent = 6;
const mostAtOnce = 2 * maxConcurrent;

let scene: RosterScene;
let application: RosterApplication;
let crowd: Crowd;

const usernames = Array.from({ length: size }, (_, index) => `user${index}`);
const jidOf = (index: number): string => `user${(index + size) % size}@${host}`;

beforeAll(async () => {
  scene = await startRosterScene({
    nodes: 1,
    worker: ({ url }) => ({
      sources: {
        contacts: {
          type: 'roster-http',
          url: `${url}/roster/{jid}`,
          max_concurrent: maxConcurrent,
          breaker: { failures: 1_000 },
        },
      },
    }),
  });
  ({ application } = scene);
  application.answerMs = 1;
  // Each knows the two on either side of him.
  for (const index of usernames.keys()) {
    for (const distance of [1, 2]) application.befriend(jidOf(index), jidOf(index + distance), { name: 'Friend' });
  }
  const [node] = scene.nodes;
  if (node === undefined) throw new Error('there is no node');
  for (const username of usernames) await node.register(username);
  crowd = await startCrowd({ port: node.port, domain: host, usernames });
}, hangMs);

afterAll(async () => {
  crowd?.stop();
  await scene?.stop();
});

const nameShown = (member: Member | undefined, contact: string): string | undefined => member?.roster.get(contact);

/** Renames the next neighbour in every so manieth roster. @returns a test of whether those clients show it */
function renameOneIn(every: number, name: string): { users: string[]; isShown: () => boolean } {
  const changed = [...usernames.keys()].filter((index) => index % every === 0);
  for (const index of changed) application.put(jidOf(index), jidOf(index + 1), { name });
  return {
    users: changed.map(jidOf),
    isShown: () => changed.every((index) => nameShown(crowd.members[index], jidOf(index + 1)) === name),
  };
}

/** Everybody was asked about at the application since it forgot. */
const everybodyAsked = (): boolean => application.asked.size >= size;

const pushes = (): number => crowd.members.reduce((sum, member) => sum + member.pushes, 0);

function expectNobodyLost(): void {
  expect(crowd.members.filter(({ isGone }) => isGone).map(({ username }) => username)).toEqual([]);
  expect(crowd.members.filter(({ removals }) => removals > 0).map(({ username }) => username)).toEqual([]);
  expect(crowd.members.filter(({ roster }) => roster.size !== 4).map(({ username }) => username)).toEqual([]);
}

/** What was refused for want of room, by all workers' metrics. */
async function refusals(): Promise<Sample[]> {
  const samples = await Promise.all(scene.workers.map(({ url }) => scrape(url)));
  const isRefusal = ({ labels }: Sample): boolean =>
    Object.values(labels).some((value) => value === 'bulkhead-full' || value === 'overloaded');
  return samples.flat().filter(isRefusal);
}

it('everybody has a roster, for one question each', () => {
  expectNobodyLost();
  expect(application.requests).toBe(size);
  expect(application.highestConcurrency).toBeLessThanOrEqual(mostAtOnce);
});

describe('a refresh of everybody', () => {
  it('reaches every client, although half as many again are offline, and the application is not asked more at once', async () => {
    application.forget();
    const before = pushes();
    const { users, isShown } = renameOneIn(1, 'Refreshed');
    const offline = Array.from({ length: size / 2 }, (_, index) => `offline${index}@${host}`);
    const response = await fetch(`${scene.workers[0].url}/roster_admin/refresh`, {
      method: 'POST',
      body: JSON.stringify([...users, ...offline]),
    });
    expect(await response.json()).toMatchObject({ status: 'ok', updated: users.length + offline.length, errors: 0 });
    await crowd.until('all who were renamed are shown so', isShown);

    expectNobodyLost();
    expect(pushes() - before).toBe(size);
    expect(application.highestConcurrency).toBeLessThanOrEqual(mostAtOnce);
  });
});

describe('NATS is killed and comes back', () => {
  it('everybody is asked about again, a few at a time: what changed meanwhile is shown, no roster is emptied, and who logs in right then does not wait for all', async () => {
    const before = pushes();
    await scene.broker.kill();
    application.forget();
    const { isShown } = renameOneIn(100, 'While NATS was gone');
    await scene.nodes[0]?.waitForOutput(/[Dd]isconnected|[Ll]ost|[Rr]econnect/);
    expect(application.requests).toBe(0);
    await scene.broker.restart();
    await application.until(() => application.asked.size > 10);
    const late = await scene.logIn(`late@${host}`, 'phone');
    const askedBefore = application.asked.size;
    expect(itemsIn(await late.ask('get', rosterQuery()))).toEqual([]);
    expect(askedBefore).toBeLessThan(size);
    await application.until(everybodyAsked);
    await crowd.until('all who were renamed are shown so', isShown);

    expectNobodyLost();
    expect(pushes() - before).toBe(size / 100);
    expect(application.highestConcurrency).toBeLessThanOrEqual(mostAtOnce);
  });
});

describe('the node misses news', () => {
  it('for its connection was cut: what changed meanwhile reaches the clients', async () => {
    const [proxy] = scene.proxies;
    const before = pushes();
    proxy?.hold();
    proxy?.cut();
    const { users, isShown } = renameOneIn(50, 'While the connection was cut');
    await refreshAt(users);
    proxy?.release();
    await crowd.until('all who were renamed are shown so', isShown);

    expectNobodyLost();
    expect(pushes() - before).toBe(size / 50);
    expect(application.highestConcurrency).toBeLessThanOrEqual(mostAtOnce);
  });

  it('by a gap in their numbers: what changed meanwhile reaches the clients', async () => {
    const [proxy] = scene.proxies;
    if (proxy === undefined) throw new Error('there is no proxy');
    const before = pushes();
    proxy.losing = true;
    const { users, isShown } = renameOneIn(50, 'While news was lost');
    await refreshAt(users);
    expect(proxy.lost).toBeGreaterThan(0);
    proxy.losing = false;
    await crowd.until('all who were renamed are shown so', isShown);

    expectNobodyLost();
    expect(pushes() - before).toBe(size / 50);
    expect(application.highestConcurrency).toBeLessThanOrEqual(mostAtOnce);
  });

  it('for it stood still: what changed meanwhile reaches the clients', async () => {
    const [node] = scene.nodes;
    const before = pushes();
    await node?.pause();
    const { users, isShown } = renameOneIn(50, 'While the node stood still');
    await refreshAt(users);
    node?.resume();
    await crowd.until('all who were renamed are shown so', isShown);

    expectNobodyLost();
    expect(pushes() - before).toBe(size / 50);
  });

  async function refreshAt(users: readonly string[]): Promise<void> {
    const response = await fetch(`${scene.workers[1].url}/roster_admin/refresh`, {
      method: 'POST',
      body: JSON.stringify(users),
    });
    expect(await response.json()).toMatchObject({ status: 'ok', updated: users.length, errors: 0 });
  }
});

it('in all this nothing was refused for want of room, and nothing went wrong inside Prosody', async () => {
  const refused = await refusals();
  expect(refused.length).toBeGreaterThan(0);
  expect(refused.filter(({ value }) => value > 0)).toEqual([]);
  for (const node of scene.nodes) expect(node.output()).not.toMatch(/[Tt]raceback/);
});
