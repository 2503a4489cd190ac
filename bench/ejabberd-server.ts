/** An ejabberd for measuring: the modules that Debian's configuration enables and that see a message, with accounts. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { startEjabberd } from '../test/servers/ejabberd.ts';

export const domain = 'localhost';

const run = promisify(execFile);

/** Over those of the tests; what is undefined is left out. */
const modules = {
  mod_adhoc: {},
  mod_caps: {},
  mod_client_state: {},
  mod_mam: undefined,
  mod_pubsub: { plugins: ['flat', 'pep'] },
  mod_push: {},
  mod_shared_roster: {},
  mod_stream_mgmt: {},
  mod_vcard: {},
  mod_vcard_xupdate: {},
};

export interface BenchEjabberd {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Compiled modules, the hook's and the bench's own; of the project whose folder is the current one. */
export interface BuiltModules {
  readonly folder: string;
  remove(): void;
}

/** @throws Error when they do not compile */
export async function buildModules(): Promise<BuiltModules> {
  const folder = mkdtempSync(join(tmpdir(), 'warder-bench-modules-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    await run(join(process.cwd(), 'deploy/ejabberd/mod_warder/build'), [folder]);
    const { stdout } = await run('dpkg', ['-L', 'ejabberd']);
    const code = stdout.split('\n').find((line) => line.endsWith('/ebin')) ?? '';
    const source = join(process.cwd(), 'bench/ejabberd/mod_http_check.erl');
    await run('erlc', ['-I', join(dirname(code), 'include'), '-pa', code, '-o', folder, source]);
    return { folder, remove };
  } catch (error) {
    remove();
    throw error;
  }
}

/**
 * Starts it with these accounts, whose passwords are their names.
 * @param checking the module that checks messages, with its options; none: without any
 */
export async function startBenchEjabberd(
  built: BuiltModules,
  accounts: readonly string[],
  checking: Readonly<Record<string, unknown>>,
): Promise<BenchEjabberd> {
  const ejabberd = await startEjabberd({
    natsUrl: '',
    warder: false,
    modules: { ...modules, ...checking },
    codePaths: [built.folder],
  });
  try {
    const names = accounts.map((name) => `<<"${name}">>`).join(', ');
    await ejabberd.shell(`[ok = ejabberd_auth:try_register(Name, <<"${domain}">>, Name) || Name <- [${names}]], ok`);
    if ('mod_warder' in checking) await ejabberd.waitForOutput(/[Cc]onnected to .*127\.0\.0\.1/);
    const pid = Number((await ejabberd.shell('os:getpid()')).replaceAll('"', ''));
    return { port: ejabberd.port, pid, stop: () => ejabberd.stop() };
  } catch (error) {
    await ejabberd.stop();
    throw error;
  }
}
