/** The configuration file of a Prosody in a test, in Lua. Knows nothing of what is tested. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ProsodyOptions } from './prosody.ts';
import type { Fallback, PolicyOptions } from './xmpp-server.ts';

export interface ProsodyPlace extends ProsodyOptions {
  readonly host: string;
  readonly rooms: string;
  readonly port: number;
  readonly componentPort: number;
  readonly folder: string;
}

const here = dirname(fileURLToPath(import.meta.url));
const pluginFolders = [join(here, '..', '..', 'deploy', 'prosody'), join(here, 'prosody-modules')];
const modules = [
  'saslauth',
  'roster',
  'disco',
  'ping',
  'carbons',
  'mam',
  'blocklist',
  'private',
  'admin_shell',
  'test_loopback',
];

export function prosodyConfig(given: ProsodyPlace): string {
  const { warder = true, peers = {}, furtherHosts = [], components = {}, policy = {} } = given;
  const hook = warder ? ['warder'] : [];
  const targets = Object.entries(peers).map(([name, port]) => `["${name}"] = ${port}`);
  const further = furtherHosts.map(({ host, rooms = false, resumption = false, policy: own = {} }) => {
    const options = policyInLua(own);
    const component = `Component "rooms.${host}" "muc"
modules_enabled = ${list(hook)}
muc_room_locking = false
${options}`;
    return `VirtualHost "${host}"
modules_enabled = ${list([...hook, ...(resumption ? ['smacks'] : [])])}
${options}
${rooms ? component : ''}`;
  });
  return `
run_as_root = true
pidfile = "${given.folder}/prosody.pid"
data_path = "${given.folder}/data"
certificates = "${given.folder}"
plugin_paths = ${list(pluginFolders)}
interfaces = { "127.0.0.1" }
c2s_ports = { ${given.port} }
component_ports = { ${given.componentPort} }
s2s_ports = { ${given.s2sPort ?? ''} }
http_ports, https_ports = { ${given.httpPort ?? ''} }, {}
${given.httpPort === undefined ? '' : httpInLua(given.host)}
c2s_require_encryption, s2s_require_encryption, s2s_secure_auth = false, false, false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
storage = "internal"
archive_store = "archive"
log = { info = "*console" }
modules_enabled = ${list([...modules, ...(given.s2sPort === undefined ? [] : ['dialback'])])}
modules_disabled = ${list(given.s2sPort === undefined ? ['s2s'] : [])}
test_loopback_peers = { ${targets.join(', ')} }
warder_nats_url = "${given.natsUrl}"
${policyInLua(policy)}
${given.options ?? ''}

VirtualHost "${given.host}"
modules_enabled = ${list([...hook, ...(given.httpPort === undefined ? [] : ['websocket']), ...(given.modules ?? [])])}
${given.hostOptions ?? ''}

Component "${given.rooms}" "muc"
modules_enabled = ${list(hook)}
${given.roomOptions ?? ''}

${further.join('\n')}
${Object.entries(components)
  .map(([domain, secret]) => `Component "${domain}"\ncomponent_secret = "${secret}"`)
  .join('\n')}
${given.further ?? ''}
`;
}

function httpInLua(host: string): string {
  return `
http_interfaces = { "*" }
http_default_host = "${host}"
consider_websocket_secure = true
trusted_proxies = { "127.0.0.1" }
warder_push_paths = true`;
}

/** As `warder_*`: times in seconds. */
function policyInLua(policy: PolicyOptions): string {
  const seconds = (milliseconds: number): string => String(milliseconds / 1_000);
  const lines: Record<string, string | undefined> = {
    checks: mapped(policy.checks, list),
    stanza_hooks: mapped(policy.stanzaHooks, list),
    stanza_kinds: mapped(policy.stanzaKinds, list),
    timeouts: mapped(policy.timeoutsMs, (timeouts) => table(timeouts, seconds)),
    fallback: mapped(policy.fallback, (fallbacks) => table(fallbacks, fallbackInLua)),
    notify: mapped(policy.notify, String),
    roster: mapped(policy.roster, String),
    roster_delimiter: mapped(policy.rosterDelimiter, quoted),
    max_stanza_size: mapped(policy.maxStanzaSizeBytes, String),
    server_name: mapped(policy.serverName, quoted),
    subject_prefix: mapped(policy.subjectPrefix, quoted),
    encoding: mapped(policy.encoding, quoted),
    near_cache: mapped(policy.nearCache, String),
    near_cache_entries: mapped(policy.nearCacheEntries, String),
    staleness_bound: mapped(policy.stalenessBoundMs, seconds),
    push_token: mapped(policy.pushToken, quoted),
  };
  return Object.entries(lines)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `warder_${name} = ${value ?? ''}`)
    .join('\n');
}

function mapped<T>(value: T | undefined, write: (value: T) => string): string | undefined {
  return value === undefined ? undefined : write(value);
}

function quoted(value: string): string {
  return `"${value}"`;
}

function list(values: readonly string[]): string {
  return `{ ${values.map(quoted).join(', ')} }`;
}

function table<T>(values: Readonly<Record<string, T>>, write: (value: T) => string): string {
  const pairs = Object.entries(values).map(([name, value]) => `["${name}"] = ${write(value)}`);
  return `{ ${pairs.join(', ')} }`;
}

function fallbackInLua(fallback: Fallback): string {
  return typeof fallback === 'string' ? quoted(fallback) : table({ ...fallback }, quoted);
}
