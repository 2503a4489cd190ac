/** A Prosody for measuring: the modules that Debian's configuration enables, on one port, with accounts in plain files. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startProcess } from '../test/servers/process.ts';

export const domain = 'localhost';

/** But `limits`, which would slow down who sends fast, and what has to do with other servers and TLS. */
const modules =
  'disco roster saslauth blocklist bookmarks carbons pep private smacks vcard4 vcard_legacy csi_simple ping register ' +
  'time uptime version';

export interface BenchProsody {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/**
 * Starts it with these accounts, whose passwords are their names.
 * @param archive whether messages are archived (XEP-0313), as few would be without but Debian's configuration is
 * @param warder Lua for the global section; undefined: without the hook
 */
export async function startBenchProsody(
  accounts: readonly string[],
  archive: boolean,
  warder: string | undefined,
): Promise<BenchProsody> {
  const folder = mkdtempSync(join(tmpdir(), 'warder-bench-prosody-'));
  const stored = join(folder, 'data', domain, 'accounts');
  mkdirSync(stored, { recursive: true });
  for (const name of accounts) writeFileSync(join(stored, `${name}.dat`), `return { password = "${name}" };\n`);
  const port = await freePort();
  const configFile = join(folder, 'prosody.cfg.lua');
  writeFileSync(configFile, configuration(folder, port, archive, warder));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    const child = await startProcess({
      command: 'prosody',
      args: ['-F', '--config', configFile],
      ready: /Activated service 'c2s' on/,
    });
    if (warder !== undefined) await child.waitForOutput(/[Cc]onnected to .*127\.0\.0\.1/);
    return {
      port,
      pid: child.pid,
      stop: async () => {
        await child.stop();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

function configuration(folder: string, port: number, archive: boolean, warder: string | undefined): string {
  return `
run_as_root = true
pidfile = "${folder}/prosody.pid"
data_path = "${folder}/data"
certificates = "${folder}"
plugin_paths = { "${join(process.cwd(), 'deploy/prosody')}" }
interfaces = { "127.0.0.1" }
c2s_ports = { ${port} }
s2s_ports, http_ports, https_ports = {}, {}, {}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
storage = "internal"
log = { info = "*console" }
modules_enabled = { ${modules
    .split(' ')
    .map((name) => `"${name}"`)
    .join(', ')} }
modules_disabled = { "s2s" }
${warder ?? ''}

VirtualHost "${domain}"
modules_enabled = { ${[archive ? '"mam"' : '', warder === undefined ? '' : '"warder"'].filter(Boolean).join(', ')} }
`;
}
