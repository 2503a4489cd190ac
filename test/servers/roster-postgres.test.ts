/**
 * Rosters in PostgreSQL, from a row that psql changes to what the clients of both nodes receive, with no HTTP in between;
 * and back from a client to the row.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PostgresServer } from './postgres-server.ts';
import { startRosterDatabase } from './roster-database.ts';
import {
  bothWays,
  forgetAll,
  leftIn,
  logInPair,
  rostersOf,
  seesNoStatus,
  seesStatus,
  takePresence,
  takePushes,
} from './roster-pair.ts';
import type { Pair } from './roster-pair.ts';
import { isPresence, itemsIn, rosterQuery, startRosterScene } from './roster-scene.ts';
import type { RosterScene } from './roster-scene.ts';
import { errorOf, isFrom, xml } from './xmpp-client.ts';

let postgres: PostgresServer;
let scene: RosterScene;

/** What an operator may write: each side of a subscription in its own row, and somebody whom nobody may ask. */
const changeSubscription = `
ALTER TABLE contacts ADD ask text;
CREATE FUNCTION change_subscription(whose text, contact text, direction text, action text)
RETURNS TABLE (verdict text, condition text, text text) LANGUAGE plpgsql AS $$
DECLARE gained text := CASE WHEN (direction = 'out') THEN 'from' ELSE 'to' END;
BEGIN
  IF action = 'subscribe' AND contact LIKE 'shy%' THEN
    RETURN QUERY SELECT 'deny', 'forbidden', 'Not this one';
    RETURN;
  ELSIF action = 'subscribe' AND direction = 'out' THEN
    INSERT INTO contacts (owner, jid, subscription, ask) VALUES (whose, contact, 'none', 'subscribe')
    ON CONFLICT (owner, jid) DO UPDATE SET ask = 'subscribe';
  ELSIF action = 'subscribed' THEN
    INSERT INTO contacts AS c (owner, jid, subscription) VALUES (whose, contact, gained)
    ON CONFLICT (owner, jid) DO UPDATE SET
      subscription = CASE WHEN c.subscription IN ('none', gained) THEN gained ELSE 'both' END,
      ask = CASE WHEN gained = 'to' THEN NULL ELSE c.ask END;
  END IF;
  RETURN QUERY SELECT 'allow', NULL::text, NULL::text;
END $$;`;

beforeAll(async () => {
  postgres = await startRosterDatabase();
  await postgres.psql(changeSubscription);
  scene = await startRosterScene({
    worker: () => ({
      sources: {
        database: {
          type: 'roster-sql',
          url: postgres.url,
          query: 'SELECT jid, name, subscription, ask, groups FROM contacts WHERE owner = $1',
          listen: { channel: 'warder_roster' },
          breaker: { failures: 1_000 },
          set: {
            statement: 'UPDATE contacts SET name = $3, groups = $4 WHERE owner = $1 AND jid = $2',
            parameters: ['jid', 'contact', 'name', 'groups'],
          },
          remove: {
            statement: 'DELETE FROM contacts WHERE owner = $1 AND jid = $2',
            parameters: ['jid', 'contact'],
          },
          subscription: {
            statement: 'SELECT verdict, condition, text FROM change_subscription($1, $2, $3, $4)',
            parameters: ['jid', 'contact', 'direction', 'action'],
          },
        },
      },
      operations: Object.fromEntries(
        ['roster-refresh', 'roster-set', 'roster-subscription'].map((operation) => [
          operation,
          { sources: 'database' },
        ]),
      ),
    }),
  });
});

afterAll(async () => {
  await scene?.stop();
  await postgres?.stop();
});

/** Both rows of a friendship, in one statement. */
async function befriend({ alice, bob }: Pair, name: string): Promise<void> {
  await postgres.psql(`INSERT INTO contacts (owner, jid, name, groups) VALUES
    ('${alice.user}', '${bob.user}', '${name}', '{Work}'), ('${bob.user}', '${alice.user}', '${name}', '{Work}')`);
}

async function becomeFriends(pair: Pair, name: string): Promise<void> {
  const { alice, bob } = pair;
  const shown = { subscription: 'both', name, groups: ['Work'] };
  await takePushes(alice, bob.user, shown);
  await takePushes(bob, alice.user, shown);
  await takePresence(alice, bob);
  await takePresence(bob, alice);
  await seesStatus(alice, bob);
  await seesStatus(bob, alice);
}

describe('rows that psql changes', () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await logInPair(scene);
  });

  it('make friends of two users at two nodes', async () => {
    await befriend(pair, 'Friend');

    await becomeFriends(pair, 'Friend');
  });

  it('rename and regroup a contact', async () => {
    const { alice, bob } = pair;
    await forgetAll(pair);
    await postgres.psql(`UPDATE contacts SET name = 'Bobby', groups = '{Chess,Go}' WHERE owner = '${alice.user}'`);

    await takePushes(alice, bob.user, { name: 'Bobby', groups: ['Chess', 'Go'] });
    await bothWays(pair);
    expect([...leftIn(alice), ...leftIn(bob)]).toEqual([]);
  });

  it('part them', async () => {
    const { alice, bob } = pair;
    await postgres.psql(`DELETE FROM contacts WHERE owner IN ('${alice.user}', '${bob.user}')`);

    await takePushes(alice, bob.user, { subscription: 'remove' });
    await takePushes(bob, alice.user, { subscription: 'remove' });
    await takePresence(alice, bob, 'unavailable');
    await takePresence(bob, alice, 'unavailable');
    await seesNoStatus(pair, alice, bob);
    await seesNoStatus(pair, bob, alice);
  });
});

describe('a database that was away', () => {
  it.each([
    ['shut down', () => postgres.shutDown()],
    ['killed', () => postgres.kill()],
  ])('(%s): a row changed as soon as it is back reaches the clients, and nobody lost a contact', async (_how, end) => {
    const before = await logInPair(scene);
    await befriend(before, 'Kept');
    await becomeFriends(before, 'Kept');
    await forgetAll(before);
    const pair = await logInPair(scene);
    await end();
    await postgres.restart();
    await befriend(pair, 'After');

    await becomeFriends(pair, 'After');
    await bothWays(before);
    expect([...leftIn(before.alice), ...leftIn(before.bob)]).toEqual([]);
    await seesStatus(before.alice, before.bob);
  });

  it('leaves those who log in meanwhile with the last known roster', async () => {
    const pair = await logInPair(scene);
    await befriend(pair, 'Known');
    await becomeFriends(pair, 'Known');
    await forgetAll(pair);
    await postgres.shutDown();
    const tablet = await scene.logIn(pair.alice.user, 'tablet');

    expect(itemsIn(await tablet.ask('get', rosterQuery())).map(({ jid }) => jid)).toEqual([pair.bob.user]);
    for (const { jid } of pair.bob.devices) await tablet.take('presence of the contact', isPresence(jid));
    await postgres.restart();
  });
});

describe('a client that changes its roster', () => {
  it('changes the row, and all its devices show it', async () => {
    const pair = await logInPair(scene);
    const { alice, bob } = pair;
    await befriend(pair, 'Before');
    await becomeFriends(pair, 'Before');
    const item = xml('item', { jid: bob.user, name: "Bob'; --" }, xml('group', {}, 'Chess'), xml('group', {}, 'Go'));
    const result = await alice.devices[0]?.ask('set', rosterQuery(item));

    expect(result?.attrs['type']).toBe('result');
    await takePushes(alice, bob.user, { name: "Bob'; --", groups: ['Chess', 'Go'] });
    expect(await postgres.psql(`SELECT name, groups FROM contacts WHERE owner = '${alice.user}'`)).toContain(
      "Bob'; --|{Chess,Go}",
    );
    await alice.devices[1]?.ask('set', rosterQuery(xml('item', { jid: bob.user, subscription: 'remove' })));
    await takePushes(alice, bob.user, { subscription: 'remove' });
    await seesNoStatus(pair, bob, alice);
    expect(await postgres.psql(`SELECT count(*) FROM contacts WHERE owner = '${alice.user}'`)).toMatch(/^0\s*$/);
  });

  it('is refused where the statement finds no row', async () => {
    const { alice } = await logInPair(scene);
    const refused = await alice.devices[0]?.ask(
      'set',
      rosterQuery(xml('item', { jid: 'nobody@b.test', name: 'Nobody' })),
    );

    expect(errorOf(refused ?? xml('iq'))).toMatchObject({ condition: 'item-not-found' });
    expect((await rostersOf(alice)).flat()).toEqual([]);
  });

  it('asks for a subscription and is granted it, each step a row', async () => {
    const pair = await logInPair(scene);
    const { alice, bob } = pair;
    await alice.devices[0]?.send(xml('presence', { type: 'subscribe', to: bob.user }));
    await takePushes(alice, bob.user, { subscription: 'none', ask: 'subscribe' });
    for (const device of bob.devices) await device.take('the request', isPresence(alice.user, 'subscribe'));
    await bob.devices[1]?.send(xml('presence', { type: 'subscribed', to: alice.user }));

    await takePushes(bob, alice.user, { subscription: 'from' });
    await takePushes(alice, bob.user, { subscription: 'to' });
    await takePresence(alice, bob);
    await seesStatus(alice, bob);
    await seesNoStatus(pair, bob, alice);
  });

  it('is told in the words of the database whom it may not ask', async () => {
    const { alice } = await logInPair(scene);
    const [phone] = alice.devices;
    await phone?.send(xml('presence', { type: 'subscribe', to: 'shy@b.test' }));
    const refused = await phone?.take('the refusal', isFrom('shy@b.test'));

    expect(errorOf(refused ?? xml('presence'))).toMatchObject({ condition: 'forbidden', text: 'Not this one' });
    expect((await rostersOf(alice)).flat()).toEqual([]);
  });
});

it('nothing in all this went wrong inside Prosody', () => {
  for (const node of scene.nodes) expect(node.output()).not.toMatch(/[Tt]raceback/);
});
