/** Prosody, as the behaviours that all servers share need to know it. */
import { startProsody } from './prosody.ts';
import type { ServerKind } from './server-kind.ts';

export const prosodyKind: ServerKind = {
  name: 'Prosody',
  // A room that its maker has to unlock first is Prosody's own affair.
  start: (options) => startProsody({ ...options, roomOptions: 'muc_room_locking = false' }),
  receivesWhileAsking: true,
  repeatsRequests: true,
  crashed: /[Tt]raceback|lost in line/,
  refusal: (error) => ({ name: 'StanzaError', ...error }),
  refusesEarly: (element, id) => element.attrs['id'] === id && element.attrs['type'] === 'error',
  refusesUnbound: true,
  malformedRecipient: 'jid-malformed',
  // It ends with the presence of who leaves.
  untilRoomEnded: () => Promise.resolve(),
  unload: async (server) => {
    await server.shell("module:unload('warder')");
    await server.waitForOutput(/Closed the connection to NATS/);
  },
  load: async (server) => void (await server.shell(`module:load('warder', { '${server.host}', '${server.rooms}' })`)),
  nearCacheStats: async (server) => {
    const [, line = ''] = /near cache of \S+: (.*)/.exec(await server.shell('warder:stats()')) ?? [];
    const words = line.split(', ').map((word) => word.split(' ') as [string, string]);
    return Object.fromEntries(words.map(([name, value]) => [name, Number(value)]));
  },
};
