/** A real Prosody on loopback for tests: its configuration, its accounts, its log, its shell. Knows nothing of Warder's answers. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePorts } from './free-port.ts';
import { findBinary, startProcess } from './process.ts';
import type { RunningProcess } from './process.ts';
import { prosodyConfig } from './prosody-config.ts';
import { connectClient } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';
import type { ServerOptions, XmppServer } from './xmpp-server.ts';

export interface ProsodyOptions extends ServerOptions {
  /** Modules of the first virtual host beside the usual ones and `warder`. */
  readonly modules?: readonly string[];
  /** Lua for the global section: options of Warder and others. */
  readonly options?: string;
  /** Lua for the first virtual host, and for its room component. */
  readonly hostOptions?: string;
  readonly roomOptions?: string;
  /** Lua behind everything, for further hosts and components. */
  readonly further?: string;
}

export interface Prosody extends XmppServer {
  register(username: string, domain?: string): void;
  /** Writes the configuration anew with these options in its global section; to be followed by a reload in the shell. */
  configure(options: string): void;
}

const run = promisify(execFile);

/** @throws Error with Prosody's output when it does not come up. */
export async function startProsody(options: ProsodyOptions): Promise<Prosody> {
  const { host = 'localhost' } = options;
  const rooms = `rooms.${host}`;
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-prosody-'));
  mkdirSync(join(folder, 'data')); // where the shell's socket is made, before anything is stored
  const [port, componentPort] = (await freePorts(2)) as [number, number];
  const configFile = join(folder, 'prosody.cfg.lua');
  const write = (changed: Partial<ProsodyOptions>): void =>
    writeFileSync(configFile, prosodyConfig({ ...options, ...changed, host, rooms, port, componentPort, folder }));
  write({});
  const start = (): Promise<RunningProcess> =>
    startProcess({
      command: 'prosody',
      args: ['-F', '--config', configFile],
      ready: /Activated service 'c2s' on/,
    });
  let child = await start().catch((error: unknown) => {
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
  const shell = async (command: string): Promise<string> => {
    const { stdout } = await run(findBinary('prosodyctl') ?? 'prosodyctl', ['--config', configFile, 'shell', command]);
    return stdout;
  };
  return {
    host,
    rooms,
    port,
    componentPort,
    register,
    unregister: async (username, domain = host) => void (await shell(`user:delete('${username}@${domain}')`)),
    disconnectClients: async () => void (await shell('c2s:closeall()')),
    connect: async (username, connectOptions) => {
      register(username, connectOptions?.domain);
      const connected = await connectClient({ port, domain: host, username, password: username, ...connectOptions });
      clients.push(connected);
      return connected;
    },
    output: () => child.output(),
    waitForOutput: (pattern) => child.waitForOutput(pattern),
    shell,
    configure: (global) => write({ options: global }),
    reconfigure: async (policy) => {
      write({ policy });
      await shell('config:reload()');
      await shell("module:reload('warder')");
    },
    killAndRestart: async () => {
      child.signal('SIGKILL');
      await child.stop();
      child = await start();
    },
    pause: () => child.pause(),
    resume: () => void child.signal('SIGCONT'),
    stop: async () => {
      await Promise.all(clients.map((connected) => connected.stop()));
      await child.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
