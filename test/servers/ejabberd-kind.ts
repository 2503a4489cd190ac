/** ejabberd, as the behaviours that all servers share need to know it. */
import { startEjabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { ejabberdStats } from './ejabberd-stats.ts';
import type { ServerKind } from './server-kind.ts';

export const ejabberdKind: ServerKind = {
  name: 'ejabberd',
  start: async (options) => startEjabberd({ ...options, codePaths: [await buildHook()] }),
  // The process of a session does one thing at a time.
  receivesWhileAsking: false,
  repeatsRequests: false,
  crashed: /CRASH REPORT|[Cc]rashed when running|terminated with reason|Error in process/,
  refusal: (error) => ({ name: 'StanzaError', ...error }),
  // It ends the stream.
  refusesEarly: (element) => element.name === 'stream:error',
  refusesUnbound: false,
  // Its codec has one answer to every attribute that it cannot read.
  malformedRecipient: 'bad-request',
  untilRoomEnded: async (server, room) => {
    const [name, domain] = room.split('@');
    while ((await server.shell(`mod_muc:find_online_room(<<"${name}">>, <<"${domain}">>)`)) !== 'error');
  },
  unload: async (server) =>
    void (await server.shell('[ok = gen_mod:stop_module(Host, mod_warder) || Host <- ejabberd_option:hosts()]')),
  load: async (server) =>
    void (await server.shell('[ok = gen_mod:start_module(Host, mod_warder) || Host <- ejabberd_option:hosts()]')),
  nearCacheStats: async (server) => {
    const rows = (await ejabberdStats(server)).filter(
      (row) => row.host === server.host && row.subject === 'near-cache',
    );
    return Object.fromEntries(rows.map(({ name, number }) => [name, number]));
  },
};
