/** What a worker tells systemd, by systemd's own command and over a real socket of that kind. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtMain, root } from './built.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startProcess } from './process.ts';
import type { RunningProcess } from './process.ts';

/** In the place of systemd: binds the socket and prints what comes. Perl is on every Debian, and Node has no such sockets. */
const listener = `
use Socket; $| = 1;
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, sockaddr_un($ARGV[0])) or die $!;
print "bound\\n";
while (defined(recv($s, my $said, 4096, 0))) { $said =~ s/\\n/ /g; print "told $said\\n"; }
`;

let folder: string;
let broker: NatsServer;
let systemd: RunningProcess;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warder-test-notify-'));
  broker = await startNatsServer({ jetstream: true });
  systemd = await startProcess({
    command: 'perl',
    args: ['-e', listener, join(folder, 'notify')],
    ready: /bound/,
  });
});

afterAll(async () => {
  await systemd?.stop();
  await broker?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function told(word: RegExp): number {
  return [...systemd.output().matchAll(/^told .*$/gm)].filter(([line]) => word.test(line)).length;
}

describe('a worker that systemd has started', () => {
  it('says that it is ready and alive, is silent while it stands still, and says that it stops', async () => {
    const worker = await startProcess({
      command: process.execPath,
      args: [await builtMain(), 'worker', '--config', join(root, 'deploy/dev/warder.yaml')],
      env: {
        WARDER_NATS_URL: broker.url,
        WARDER_HTTP_LISTEN: '127.0.0.1:0',
        NOTIFY_SOCKET: join(folder, 'notify'),
        WATCHDOG_USEC: '300000',
      },
      ready: /"worker ready"/,
      stopTimeoutMs: 15_000,
    });
    await expect.poll(() => told(/READY=1/)).toBe(1);
    await expect.poll(() => told(/WATCHDOG=1/)).toBeGreaterThan(2);

    await worker.pause();
    const said = told(/WATCHDOG=1/);
    // That nothing comes can only be waited for: ten times as long as it may be silent.
    await delay(1_000);
    // One may have been on its way.
    expect(told(/WATCHDOG=1/) - said).toBeLessThanOrEqual(1);

    worker.signal('SIGCONT');
    await expect.poll(() => told(/WATCHDOG=1/)).toBeGreaterThan(said + 1);
    expect((await worker.stop()).code).toBe(0);
    await expect.poll(() => told(/STOPPING=1/)).toBe(1);
  });
});
