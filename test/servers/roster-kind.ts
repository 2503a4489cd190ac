/** What the behaviours of rosters need to know of a kind of server beside the rest. */
import { ejabberdKind } from './ejabberd-kind.ts';
import { prosodyKind } from './prosody-kind.ts';
import type { ServerKind } from './server-kind.ts';
import type { XmppServer } from './xmpp-server.ts';

export interface RosterKind extends ServerKind {
  /** What the hook counts of rosters on a host: online, due, asked, applied, older and retries. */
  rosterStats(server: XmppServer): Promise<Readonly<Record<string, number>>>;
  /** Takes the hook out and puts it in again, on the first host. */
  restartHook(server: XmppServer): Promise<void>;
}

export const prosodyRosters: RosterKind = {
  ...prosodyKind,
  rosterStats: async (server) => {
    const [, ofHost = ''] = (await server.shell('warder:stats()')).split(`${server.host}\n`);
    const [, line = ''] = / rosters: (.*)/.exec(ofHost) ?? [];
    const words = line.split(', ').map((word) => word.split(' ') as [string, string]);
    return Object.fromEntries(words.map(([name, value]) => [name, Number(value)]));
  },
  restartHook: async (server) => void (await server.shell("module:reload('warder')")),
};

export const ejabberdRosters: RosterKind = {
  ...ejabberdKind,
  rosterStats: async (server) => {
    const printed = await server.shell(`maps:to_list(mod_warder_roster_refresh:stats(<<"${server.host}">>))`);
    return Object.fromEntries([...printed.matchAll(/\{(\w+), *(\d+)\}/g)].map(([, name = '', n]) => [name, Number(n)]));
  },
  restartHook: async (server) => {
    const host = `<<"${server.host}">>`;
    await server.shell(`ok = gen_mod:stop_module(${host}, mod_warder), ok = gen_mod:start_module(${host}, mod_warder)`);
  },
};
