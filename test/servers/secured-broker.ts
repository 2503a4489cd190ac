/**
 * A broker with deploy/nats as it stands: keys by its keys.mjs, and its configuration changed only in what is of one
 * site. Knows the roles, and nothing of what they are used for.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect, Events, nkeyAuthenticator } from 'nats';
import type { ConnectionOptions, NatsConnection } from 'nats';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';

const deployed = fileURLToPath(new URL('../../deploy/nats', import.meta.url));
const prefix = 'xmpp.policy.v1';

export interface Site {
  readonly folder: string;
  file(name: string): string;
  /** Runs deploy/nats/keys.mjs in the folder; what it prints, without its line break. */
  keys(...args: readonly string[]): string;
  remove(): void;
}

/** A folder with an authority, the broker's certificate, and one of each: worker, admin, prosody-1, ejabberd-1. */
export function makeSite(): Site {
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-broker-'));
  const keys = (...args: readonly string[]): string =>
    execFileSync(process.execPath, [join(deployed, 'keys.mjs'), ...args], {
      cwd: folder,
      encoding: 'utf8',
      stdio: 'pipe',
    }).trim();
  keys('authority');
  keys('certificate', 'server', 'localhost', '127.0.0.1');
  return { folder, file: (name) => join(folder, name), keys, remove: () => rmSync(folder, { recursive: true }) };
}

export interface SecuredBroker {
  readonly server: NatsServer;
  readonly site: Site;
  /** `tls://localhost:PORT`. */
  readonly url: string;
  /** Rewrites the configuration, and resolves when the broker has taken it. */
  reload(change: (config: string) => string): Promise<void>;
  /** What a worker's or the command line's configuration says under `nats`. */
  settings(name: string): Record<string, unknown>;
  /** Connects by nkey (worker, admin) or by password (hooks), as whoever has stolen no more than that. */
  connect(name: string, more?: ConnectionOptions): Promise<NatsConnection>;
  stop(): Promise<void>;
}

export interface SecuredOptions {
  /** Everybody shows a certificate, and hooks are who their certificates say. */
  readonly byCertificate?: boolean;
}

export async function startSecuredBroker({ byCertificate = false }: SecuredOptions = {}): Promise<SecuredBroker> {
  const site = makeSite();
  const { keys, file, folder } = site;
  if (byCertificate) for (const name of ['worker', 'admin', 'prosody-1', 'ejabberd-1']) keys('certificate', name);
  let config = readFileSync(join(deployed, 'nats-server.conf'), 'utf8')
    .replaceAll('/etc/nats', folder)
    .replace('/var/lib/nats', file('store'))
    .replace('nkey: "UWORKER"', keys('nkey', 'worker'))
    .replace('nkey: "UADMIN"', keys('nkey', 'admin'));
  for (const hook of ['prosody-1', 'ejabberd-1']) {
    // A function, because the hash is full of dollar signs.
    const login = keys('password', hook);
    config = config.replace(`user: "${hook}", password: "$2a$BCRYPT"`, () => login);
  }
  if (byCertificate) {
    config = config.replace('#verify_and_map', 'verify_and_map').replaceAll(/(user: "[\w-]+"), password: .*/g, '$1');
  }
  const configFile = file('nats-server.conf');
  mkdirSync(file('store'));
  copyFileSync(join(deployed, 'permissions.conf'), file('permissions.conf'));
  writeFileSync(configFile, config);
  const server = await startNatsServer({ args: ['-c', configFile] });
  const url = `tls://localhost:${server.port}`;
  const certificate = (name: string) =>
    byCertificate ? { certFile: file(`${name}.pem`), keyFile: file(`${name}.key`) } : {};
  return {
    server,
    site,
    url,
    reload: async (change) => {
      config = change(config);
      writeFileSync(configFile, config);
      const reloads = () => server.output().match(/Reloaded server configuration|Failed to reload/g)?.length ?? 0;
      const before = reloads();
      server.signal('SIGHUP');
      while (reloads() === before) await turn();
      if (/Failed to reload/.test(server.output())) throw new Error(server.output());
    },
    settings: (name) => ({
      nkey_file: file(`${name}.nk`),
      tls: {
        ca_file: file('ca.pem'),
        ...(byCertificate ? { cert_file: file(`${name}.pem`), key_file: file(`${name}.key`) } : {}),
      },
    }),
    connect: (name, more = {}) => {
      const isHook = /\d$/.test(name);
      const login: ConnectionOptions = isHook
        ? { user: name, pass: readFileSync(file(`${name}.password`), 'utf8').trim() }
        : { authenticator: nkeyAuthenticator(readFileSync(file(`${name}.nk`)).subarray(0, 58)) };
      return connect({
        servers: url,
        tls: { caFile: file('ca.pem'), ...certificate(name) },
        inboxPrefix: `_INBOX.${inboxOf(name)}`,
        reconnect: false,
        ...(byCertificate && isHook ? {} : login),
        ...more,
      });
    },
    stop: async () => {
      await server.stop();
      site.remove();
    },
  };
}

function inboxOf(name: string): string {
  return { worker: 'warder-worker', admin: 'warder-cli' }[name] ?? name;
}

/** Follows what the broker refuses this connection. */
export function watchRefusals(nats: NatsConnection): { until(): Promise<readonly string[]> } {
  let refused: string[] = [];
  void (async () => {
    for await (const { type, data, permissionContext } of nats.status()) {
      if (type !== Events.Error) continue;
      refused.push(permissionContext === undefined ? JSON.stringify(data) : permissionContext.subject);
    }
  })();
  return {
    /** What was refused since the last call; the broker says so before it answers the ping. */
    until: async () => {
      await nats.flush();
      await turn();
      const result = refused;
      refused = [];
      return result;
    },
  };
}

/** The subject of an operation or of control, with the prefix. */
export function subject(tail: string): string {
  return `${prefix}.${tail}`;
}
