/** Who enters a room of a real Prosody; and its rooms without a name, which other servers do not have. */
import { describe, expect, it } from 'vitest';
import { checkJoins } from './behaviours/join-check.ts';
import { prosodyKind } from './prosody-kind.ts';
import { joinOf } from './xmpp-client.ts';

const { scene, connect, joinAndGetError } = checkJoins(prosodyKind);

describe('a join that is denied', () => {
  it('is denied at the host of the rooms, too, which may be a room itself', async () => {
    const { responder } = scene();
    const alice = await connect('alice');
    responder.on('join-check', () => ({ verdict: 'deny' }));

    expect(await joinAndGetError(alice, joinOf('rooms.localhost', 'alice'))).toEqual({
      type: 'auth',
      condition: 'forbidden',
      text: 'You may not enter this room',
    });
    expect(responder.of('join-check')[0]).toMatchObject({ room: 'rooms.localhost', nick: 'alice' });
  });
});
