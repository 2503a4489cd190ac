/**
 * A real ejabberd on loopback for tests, as a plain Erlang node: its configuration, its accounts, its log, its cluster.
 * Knows nothing of Warder's answers.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ejabberdConfig } from './ejabberd-config.ts';
import { startEpmd } from './epmd.ts';
import type { Epmd } from './epmd.ts';
import { freePorts } from './free-port.ts';
import { findBinary, startProcess } from './process.ts';
import type { RunningProcess } from './process.ts';
import { connectClient } from './xmpp-client.ts';
import type { ServerOptions, XmppServer } from './xmpp-server.ts';

export interface EjabberdOptions extends ServerOptions {
  /** Modules of every host, over the usual ones and `mod_warder`. */
  readonly modules?: Readonly<Record<string, unknown>>;
  /** Options of the top level. */
  readonly options?: Readonly<Record<string, unknown>>;
  readonly listeners?: readonly Readonly<Record<string, unknown>>[];
  /** Folders with compiled modules that ejabberd does not bring itself. */
  readonly codePaths?: readonly string[];
  /** A running ejabberd of the same hosts whose cluster it joins; to be stopped after this one. */
  readonly cluster?: Ejabberd;
}

export interface Ejabberd extends XmppServer {
  /** Its name as an Erlang node. */
  readonly node: string;
  /** What another node needs to find it. */
  readonly epmd: Epmd;
  readonly cookie: string;
  register(username: string, domain?: string): Promise<void>;
  /** Reads its configuration again with other options over those that it was started with. @throws Error with what is wrong with them */
  reload(changed: Partial<EjabberdOptions>): Promise<void>;
  /** The value of an Erlang expression that JSON can hold. */
  evaluate(expression: string): Promise<unknown>;
}

const run = promisify(execFile);

/** @throws Error with ejabberd's output when it does not come up. */
export async function startEjabberd(options: EjabberdOptions): Promise<Ejabberd> {
  const { host = 'localhost', cluster, codePaths = [] } = options;
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-ejabberd-'));
  const stops: (() => Promise<unknown>)[] = [async () => rmSync(folder, { recursive: true, force: true })];
  const stop = async (): Promise<void> => {
    for (const one of stops.splice(0).toReversed()) await one();
  };
  try {
    const epmd = cluster?.epmd ?? (await startEpmd());
    if (cluster === undefined) stops.push(() => epmd.stop());
    const cookie = cluster?.cookie ?? randomBytes(12).toString('hex');
    const node = `ejabberd-${randomBytes(4).toString('hex')}@localhost`;
    const [port, componentPort] = (await freePorts(2)) as [number, number];
    const configFile = join(folder, 'ejabberd.yml');
    const write = (changed: Partial<EjabberdOptions>): void =>
      writeFileSync(configFile, ejabberdConfig({ ...options, ...changed, host, port, componentPort }));
    write({});
    mkdirSync(join(folder, 'log'));
    const args = erlangArguments({ node, cookie, folder, configFile, codePaths: [await ejabberdCode(), ...codePaths] });
    const start = (): Promise<RunningProcess> =>
      startProcess({
        command: 'erl',
        args,
        cwd: folder,
        env: { ...epmd.environment, HOME: folder, ERL_LIBS: undefined },
        ready: /ejabberd \S+ is started in the node/,
      });
    let child = await start();
    stops.push(() => child.stop());

    const shell = (expression: string): Promise<string> => callNode({ node, cookie, epmd }, expression);
    const reload = async (changed: Partial<EjabberdOptions>): Promise<void> => {
      write(changed);
      const said = 'lists:flatten(ejabberd_config:format_error(Refused))';
      const outcome = await shell(`case ejabberd_config:reload() of ok -> ok; Refused -> ${said} end`);
      if (outcome !== 'ok') throw new Error(outcome);
    };
    if (cluster !== undefined) await shell(`ok = ejabberd_cluster:join('${cluster.node}')`);
    // In Erlang's own cache of DNS, so that nobody is asked. Reading resolv.conf, done but once, empties it.
    const srv = Object.entries(options.peers ?? {}).map(
      ([peer, peerPort]) =>
        `ok = inet_db:add_rr("_xmpp-server._tcp.${peer}", in, srv, 86400, {0, 0, ${peerPort}, "127.0.0.1"})`,
    );
    const findPeers = async (): Promise<void> => {
      if (srv.length > 0) await shell(['inet_db:res_update_conf()', ...srv].join(', '));
    };
    await findPeers();
    const account = (username: string, domain: string): string => `<<"${username}">>, <<"${domain}">>`;
    // One at a time, and what exists is left alone: that it exists would be remembered as its password.
    let registered: Promise<unknown> = Promise.resolve();
    const register = async (username: string, domain = host): Promise<void> => {
      const one = account(username, domain);
      const make = `ejabberd_auth:user_exists(${one}) orelse ejabberd_auth:try_register(${one}, <<"${username}">>)`;
      const made = registered.then(() => shell(make));
      registered = made.catch(() => undefined);
      await made;
    };
    return {
      host,
      rooms: `rooms.${host}`,
      port,
      componentPort,
      node,
      epmd,
      cookie,
      register,
      unregister: async (username, domain = host) =>
        void (await shell(`ok = ejabberd_auth:remove_user(${account(username, domain)})`)),
      connect: async (username, connectOptions) => {
        await register(username, connectOptions?.domain);
        const connected = await connectClient({ port, domain: host, username, password: username, ...connectOptions });
        stops.push(() => connected.stop());
        return connected;
      },
      disconnectClients: async () =>
        void (await shell(
          '[ejabberd_c2s:close(Pid) || {_, Pid, _, _} <- supervisor:which_children(ejabberd_c2s_sup), is_pid(Pid)]',
        )),
      output: () => child.output(),
      waitForOutput: (pattern) => child.waitForOutput(pattern),
      shell,
      evaluate: async (expression) => {
        const encoded = await shell(`binary_to_list(base64:encode(iolist_to_binary(jiffy:encode(${expression}))))`);
        return JSON.parse(Buffer.from(encoded.slice(1, -1), 'base64').toString()) as unknown;
      },
      reload,
      reconfigure: (policy) => reload({ policy }),
      killAndRestart: async () => {
        child.signal('SIGKILL');
        await child.stop();
        child = await start();
        await findPeers();
      },
      pause: () => child.pause(),
      resume: () => void child.signal('SIGCONT'),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Node {
  readonly node: string;
  readonly cookie: string;
  readonly folder: string;
  readonly configFile: string;
  readonly codePaths: readonly string[];
}

function erlangArguments({ node, cookie, folder, configFile, codePaths }: Node): string[] {
  return [
    ['-noinput', '-sname', node, '-setcookie', cookie, '-start_epmd', 'false'],
    ['-kernel', 'inet_dist_use_interface', '{127,0,0,1}'],
    // Schedulers that wait busily would take the two cores from everything else that a test runs.
    ['+sbwt', 'none', '+sbwtdcpu', 'none', '+sbwtdio', 'none'],
    codePaths.flatMap((path) => ['-pa', path]),
    ['-mnesia', 'dir', quoted(join(folder, 'spool'))],
    ['-ejabberd', 'config', quoted(configFile), 'log_path', quoted(join(folder, 'log', 'ejabberd.log'))],
    ['-s', 'ejabberd'],
  ].flat();
}

/** Where the Debian package puts it; Erlang does not look there by itself. */
async function ejabberdCode(): Promise<string> {
  const { stdout } = await run('dpkg', ['-L', 'ejabberd']);
  const folder = stdout.split('\n').find((line) => line.endsWith('/ebin'));
  if (folder === undefined) throw new Error('the package ejabberd has no ebin folder');
  return folder;
}

/** @throws Error with what the expression failed with */
async function callNode(where: Pick<Ejabberd, 'node' | 'cookie' | 'epmd'>, expression: string): Promise<string> {
  // A name of its own for each call: of two that come under one name at once the second is refused.
  const caller = `call-${randomBytes(4).toString('hex')}`;
  const args = ['-n', where.node, '-c', where.cookie, '-h', caller, '-e'];
  const running = run(findBinary('erl_call') ?? 'erl_call', args, {
    env: { ...process.env, ...where.epmd.environment },
  });
  // It may have ended before it has read that; what it says then is the error.
  running.child.stdin?.on('error', () => undefined);
  running.child.stdin?.end(`${expression}.\n`);
  const { stdout } = await running;
  const [, value] = /^\{ok, ([^]*)\}$/.exec(stdout.trim()) ?? [];
  if (value === undefined) throw new Error(`${expression} failed with ${stdout}`);
  return value;
}

/** As a string of Erlang, whose shell escapes are JSON's for what paths consist of. */
function quoted(text: string): string {
  return JSON.stringify(text);
}
