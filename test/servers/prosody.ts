/** A real Prosody on loopback for tests: its configuration, its accounts, its log, its shell. Knows nothing of Warder's answers. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePorts } from './free-port.ts';
import { findBinary, startProcess } from './process.ts';
import { connectClient } from './xmpp-client.ts';
import type { ConnectOptions, TestClient } from './xmpp-client.ts';

export interface ProsodyOptions {
  readonly natsUrl: string;
  /** The virtual host; its rooms are at `rooms.` before it. Default `localhost`. */
  readonly host?: string;
  /** Modules of the virtual host beside the usual ones and `warder`. */
  readonly modules?: readonly string[];
  /** Lua for the global section: options of Warder and others. */
  readonly options?: string;
  /** Lua for the virtual host, and for its room component. */
  readonly hostOptions?: string;
  readonly roomOptions?: string;
  /** Lua behind everything, for further hosts and components. */
  readonly further?: string;
  /** Loads Warder nowhere when false. */
  readonly warder?: boolean;
  /** Where other hosts' servers listen, for the test module that stands in for DNS. */
  readonly peers?: Readonly<Record<string, number>>;
  readonly s2sPort?: number;
}

export interface Prosody {
  readonly host: string;
  readonly rooms: string;
  readonly port: number;
  readonly componentPort: number;
  /** Makes an account, on the virtual host unless told otherwise; its password is its name. */
  register(username: string, domain?: string): void;
  /** Connects as an account, made now if it was not. All are disconnected by `stop`. */
  connect(username: string, options?: Partial<ConnectOptions>): Promise<TestClient>;
  /** All that it logged, at info and above. */
  output(): string;
  waitForOutput(pattern: RegExp): Promise<RegExpMatchArray>;
  /** One line of the admin shell; returns what it prints. @throws Error when the command fails. */
  shell(command: string): Promise<string>;
  /** Writes the configuration anew with these options in its global section; to be followed by a reload in the shell. */
  configure(options: string): void;
  /** SIGSTOP, resolved when it stands still. */
  pause(): Promise<void>;
  resume(): void;
  stop(): Promise<void>;
}

const here = dirname(fileURLToPath(import.meta.url));
const pluginFolders = [join(here, '..', '..', 'deploy', 'prosody'), join(here, 'prosody-modules')];
const modules = ['saslauth', 'roster', 'disco', 'ping', 'carbons', 'mam', 'blocklist', 'admin_shell', 'test_loopback'];
const run = promisify(execFile);

/** @throws Error with Prosody's output when it does not come up. */
export async function startProsody(options: ProsodyOptions): Promise<Prosody> {
  const { host = 'localhost' } = options;
  const rooms = `rooms.${host}`;
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-prosody-'));
  mkdirSync(join(folder, 'data')); // where the shell's socket is made, before anything is stored
  const [port, componentPort] = (await freePorts(2)) as [number, number];
  const configFile = join(folder, 'prosody.cfg.lua');
  const write = (global: string): void =>
    writeFileSync(configFile, configuration({ ...options, options: global, host, rooms, port, componentPort, folder }));
  write(options.options ?? '');
  const child = await startProcess({
    command: 'prosody',
    args: ['-F', '--config', configFile],
    ready: /Activated service 'c2s' on/,
  }).catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });

  const clients: TestClient[] = [];
  const register = (username: string, domain = host): void => {
    // Prosody's file storage writes what is neither letter nor digit of a host as %xx.
    const hostFolder = domain.replaceAll(/[^a-z0-9]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
    const accounts = join(folder, 'data', hostFolder, 'accounts');
    mkdirSync(accounts, { recursive: true });
    writeFileSync(join(accounts, `${username}.dat`), `return { password = "${username}" };\n`);
  };
  return {
    host,
    rooms,
    port,
    componentPort,
    register,
    connect: async (username, connectOptions) => {
      register(username, connectOptions?.domain);
      const connected = await connectClient({ port, domain: host, username, password: username, ...connectOptions });
      clients.push(connected);
      return connected;
    },
    output: () => child.output(),
    waitForOutput: (pattern) => child.waitForOutput(pattern),
    shell: async (command) => {
      const { stdout } = await run(findBinary('prosodyctl') ?? 'prosodyctl', [
        '--config',
        configFile,
        'shell',
        command,
      ]);
      return stdout;
    },
    configure: write,
    pause: () => child.pause(),
    resume: () => void child.signal('SIGCONT'),
    stop: async () => {
      await Promise.all(clients.map((connected) => connected.stop()));
      await child.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface Configuration extends ProsodyOptions {
  readonly host: string;
  readonly rooms: string;
  readonly port: number;
  readonly componentPort: number;
  readonly folder: string;
}

function configuration(given: Configuration): string {
  const { warder = true, peers = {} } = given;
  const list = (values: readonly string[]): string => `{ ${values.map((value) => `"${value}"`).join(', ')} }`;
  const targets = Object.entries(peers).map(([name, port]) => `["${name}"] = ${port}`);
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
http_ports, https_ports = {}, {}
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
${given.options ?? ''}

VirtualHost "${given.host}"
modules_enabled = ${list([...(warder ? ['warder'] : []), ...(given.modules ?? [])])}
${given.hostOptions ?? ''}

Component "${given.rooms}" "muc"
modules_enabled = ${list(warder ? ['warder'] : [])}
${given.roomOptions ?? ''}

${given.further ?? ''}
`;
}
