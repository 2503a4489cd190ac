/** The application that owns the rosters, in the place of a worker: what it holds is what is answered, until a test says otherwise. */
import type { Answer, Asked, Responder } from './responder.ts';
import type { XmppServer } from './xmpp-server.ts';
import { rosterQuery } from './roster-scene.ts';
import { isFrom, xml } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';

export interface HeldItem {
  readonly jid: string;
  readonly subscription: 'none' | 'from' | 'to' | 'both';
  readonly name?: string;
  readonly ask?: 'subscribe';
  readonly groups?: readonly string[];
}

export interface HeldRosters {
  put(user: string, items: readonly HeldItem[]): void;
  /** Answers a question for rosters from what is held. */
  answer(asked: Asked): Answer;
}

/** From now on this answers `roster-refresh`; to be called anew after the responder was reset. */
export function holdRosters(responder: Responder): HeldRosters {
  const held = new Map<string, { version: number; items: readonly HeldItem[] }>();
  let changes = 0;
  const answer = (asked: Asked): Answer => {
    const users = asked['users'] as string[];
    const rosters = users.map((user) => {
      const { version = 0, items = [] } = held.get(user) ?? {};
      return [user, { version: `v${version}`, items: items.map((item) => ({ groups: [], ...item })), pending: [] }];
    });
    return {
      status: 'ok',
      message: '',
      updated: users.length,
      errors: 0,
      rosters: Object.fromEntries(rosters) as object,
      failed: {},
    };
  };
  responder.on('roster-refresh', answer);
  return {
    put: (user, items) => {
      changes += 1;
      held.set(user, { version: changes, items });
    },
    answer,
  };
}

/** With its roster asked for and its presence out, so that it is pushed what changes. */
export async function logIn(
  server: XmppServer,
  username: string,
  resource: string,
  domain?: string,
): Promise<TestClient> {
  const client = await server.connect(username, {
    resource,
    presence: false,
    ...(domain === undefined ? {} : { domain }),
  });
  const roster = await client.ask('get', rosterQuery());
  if (roster.attrs['type'] !== 'result') throw new Error(`${client.jid} got no roster: ${String(roster)}`);
  await client.send(xml('presence'));
  await client.take('its own presence', isFrom(client.jid));
  await client.settle();
  return client;
}
