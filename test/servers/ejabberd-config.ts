/**
 * The configuration file of an ejabberd in a test, with quotes only where YAML needs them, as people write it: ejabberd
 * takes what has none for another type. Knows nothing of what is tested.
 */
import { stringify } from 'yaml';
import type { EjabberdOptions } from './ejabberd.ts';
import type { PolicyOptions } from './xmpp-server.ts';

export interface EjabberdPlace extends EjabberdOptions {
  readonly host: string;
  readonly port: number;
  readonly componentPort: number;
}

type Options = Readonly<Record<string, unknown>>;

export function ejabberdConfig(given: EjabberdPlace): string {
  const { host, furtherHosts = [], components = {}, s2sPort } = given;
  const ip = '127.0.0.1';
  const listeners: Options[] = [
    { port: given.port, ip, module: 'ejabberd_c2s', starttls: false },
    {
      port: given.componentPort,
      ip,
      module: 'ejabberd_service',
      hosts: mapped(components, (password) => ({ password })),
    },
    ...(s2sPort === undefined ? [] : [{ port: s2sPort, ip, module: 'ejabberd_s2s_in' }]),
    ...(given.httpPort === undefined ? [] : [httpListener(given.httpPort)]),
    ...(given.listeners ?? []),
  ];
  const further = furtherHosts.map((one) => [one.host, { modules: modulesOf(given, one) }]);
  const config = {
    hosts: [host, ...furtherHosts.map((one) => one.host)],
    loglevel: 'info',
    log_rotate_count: 0,
    listen: listeners,
    auth_password_format: 'plain',
    s2s_use_starttls: false,
    trusted_proxies: ['127.0.0.1'],
    ...given.options,
    modules: modulesOf(given, { rooms: true }),
    host_config: Object.fromEntries(further),
  };
  return stringify(config, { lineWidth: 0, aliasDuplicateObjects: false });
}

function httpListener(port: number): Options {
  const handlers = {
    '/roster_admin': 'mod_warder_http',
    '/mod_msg_filter': 'mod_warder_http',
    '/xmpp-websocket': 'ejabberd_http_ws',
  };
  return { port, ip: '0.0.0.0', module: 'ejabberd_http', request_handlers: handlers };
}

function modulesOf(
  given: EjabberdPlace,
  host: { readonly rooms?: boolean; readonly resumption?: boolean; readonly policy?: PolicyOptions },
): Options {
  const { warder = true, policy, natsUrl, s2sPort } = given;
  return {
    mod_admin_extra: {},
    mod_blocking: {},
    mod_carboncopy: {},
    mod_disco: {},
    mod_last: {},
    mod_mam: { default: 'always' },
    mod_offline: {},
    mod_ping: {},
    mod_privacy: {},
    mod_private: {},
    mod_roster: {},
    ...(host.rooms === true ? { mod_muc: { hosts: ['rooms.@HOST@'] } } : {}),
    ...(host.resumption === true ? { mod_stream_mgmt: { resend_on_timeout: 'if_offline' } } : {}),
    ...(s2sPort === undefined ? {} : { mod_s2s_dialback: {} }),
    ...(warder ? { mod_warder: { nats_url: natsUrl, ...moduleOptions({ ...policy, ...host.policy }) } } : {}),
    ...given.modules,
  };
}

/** As the options of `mod_warder`. */
function moduleOptions(policy: PolicyOptions): Options {
  const milliseconds = (value: number): string => `${value} ms`;
  const options: Options = {
    checks: policy.checks,
    stanza_hooks: policy.stanzaHooks,
    stanza_kinds: policy.stanzaKinds,
    timeouts: policy.timeoutsMs === undefined ? undefined : mapped(policy.timeoutsMs, milliseconds),
    fallback: policy.fallback,
    notify: policy.notify,
    roster: policy.roster,
    roster_delimiter: policy.rosterDelimiter,
    max_stanza_size: policy.maxStanzaSizeBytes,
    server_name: policy.serverName,
    subject_prefix: policy.subjectPrefix,
    encoding: policy.encoding,
    near_cache: policy.nearCache,
    near_cache_entries: policy.nearCacheEntries,
    staleness_bound: policy.stalenessBoundMs === undefined ? undefined : milliseconds(policy.stalenessBoundMs),
    push_token: policy.pushToken,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function mapped<T>(values: Readonly<Record<string, T>>, change: (value: T) => unknown): Options {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value)]));
}
