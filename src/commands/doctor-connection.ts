/** `warder doctor` at the broker's door: whether it is there, which it is, and what these credentials may do. */
import { isIP } from 'node:net';
import type { NatsConnection } from 'nats';
import type { Config } from '../config/schema.ts';
import { connectOnce, followConnection } from './connect-once.ts';
import { durationWords } from './explain-decision.ts';
import type { Findings } from './findings.ts';
import type { Target } from './target.ts';

/** As whom the broker knows us, by whose replies we may read. */
export type Role = 'administrator' | 'worker';

export interface Visit {
  readonly nats: NatsConnection;
  readonly role: Role;
  /** What the broker has refused so far. */
  readonly refused: readonly string[];
}

const inboxes: Readonly<Record<Role, string>> = { administrator: 'warder-cli', worker: 'warder-worker' };
/** The oldest that Warder is tested with, and what it must have at least: `republish`. */
const tested = [2, 9, 10] as const;
const republishes = [2, 8, 3] as const;
const noticesStopped = [2, 9, 16] as const;
/** A stanza of the usual limit and what goes with it. */
const leastPayloadBytes = 128 * 1024;

/** @returns undefined where there is no broker, or nothing may be done there */
export async function visitBroker(target: Target, findings: Findings): Promise<Visit | undefined> {
  const where = target.nats.url.join(', ');
  for (const role of ['administrator', 'worker'] as const) {
    const nats = await connectOnce(target.nats, false, inboxes[role]);
    if ('trouble' in nats) {
      const found = nats.trouble === 'refused' ? `${where} refuses the login` : `no NATS server at ${where}`;
      const right =
        nats.trouble === 'refused'
          ? 'give the right credentials: --config FILE'
          : 'start it, or say where it is: --nats URL';
      findings.fail('broker', `${found} (${nats.detail}); the address is from ${target.from}`, right);
      return undefined;
    }
    const refused: string[] = [];
    void followConnection(nats, { refused: (detail) => refused.push(detail) });
    if (await maySubscribe(nats, `_INBOX.${target.nats.inbox ?? inboxes[role]}.doctor`)) {
      const began = performance.now();
      await nats.flush();
      const rttMs = performance.now() - began;
      findings.ok('broker', `${nats.getServer()} answers in ${durationWords(rttMs)}, to us as ${role}`);
      describe(nats, target.nats, findings);
      return { nats, role, refused };
    }
    await nats.close();
  }
  findings.fail(
    'permissions',
    'these credentials may read replies neither as an administrator nor as a worker',
    'use those of deploy/nats, or say in nats.inbox what the broker permits after _INBOX.',
  );
  return undefined;
}

/** The broker refuses before it answers the ping. */
async function maySubscribe(nats: NatsConnection, subject: string): Promise<boolean> {
  let isRefused = false;
  const subscription = nats.subscribe(subject, {
    callback: (error) => {
      if (error !== null) isRefused = true;
    },
  });
  await nats.flush();
  if (!isRefused) subscription.unsubscribe();
  return !isRefused;
}

function describe({ info }: NatsConnection, { url, tls }: Config['nats'], findings: Findings): void {
  const version = info?.version ?? 'unknown';
  const at = (least: readonly number[]) => isAtLeast(version, least);
  if (!at(republishes))
    findings.fail(
      'version',
      `nats-server ${version} cannot republish changes with their numbers`,
      `take ${tested.join('.')} or later`,
    );
  else if (!at(tested))
    findings.warn('version', `Warder is not tested with nats-server ${version}`, `take ${tested.join('.')} or later`);
  else if (!at(noticesStopped))
    findings.note(
      'version',
      `nats-server ${version}`,
      `${noticesStopped.join('.')} and later notice a stopped worker that is still asked sooner`,
    );
  else findings.ok('version', `nats-server ${version}`);
  const isLocal = url.every((one) => isLoopback(one));
  const isSecret = tls !== undefined || url.some((one) => /^tls:/i.test(one));
  if (info?.auth_required !== true) {
    const found = 'the NATS server lets everybody in who reaches its port';
    const right = 'deploy/nats has a configuration in which each may do what he must';
    if (isLocal) findings.note('login', found, right);
    else findings.warn('login', found, right);
  } else findings.ok('login', 'the NATS server wants credentials');
  if (isSecret) findings.ok('encryption', 'the connection is encrypted');
  else if (isLocal) findings.note('encryption', 'the connection is not encrypted; it stays on this machine');
  else
    findings.warn('encryption', 'the connection is not encrypted', 'use tls:// and nats.tls.ca_file; see deploy/nats');
  const maxBytes = info?.max_payload ?? 0;
  if (maxBytes < leastPayloadBytes)
    findings.warn(
      'max_payload',
      `messages may have ${maxBytes} bytes, little for stanzas of 64 KiB and for rosters`,
      'leave max_payload at its default of 1 MiB',
    );
  findings.note(
    'ping_interval',
    'how soon the NATS server misses who is stopped cannot be seen from here',
    'ping_interval: "2s" and ping_max: 2, as in deploy/nats; by default it takes four minutes',
  );
}

function isAtLeast(version: string, least: readonly number[]): boolean {
  const parts = version.split(/[.-]/).map(Number);
  for (const [index, wanted] of least.entries()) {
    const part = parts[index] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}

/** A host of this machine. What a name stands for is not looked up. */
export function isLoopback(url: string): boolean {
  const { hostname } = new URL(`nats://${url.replace(/^[a-z]+:\/\//i, '')}`);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** What was refused while everything else was looked at, and what should be. */
export async function judgePermissions({ nats, role, refused }: Visit, findings: Findings): Promise<void> {
  const missing = [...new Set(refused)];
  if (missing.length > 0) {
    const section = role === 'worker' ? 'WORKER_PERMISSIONS' : 'ADMIN_PERMISSIONS';
    findings.fail(
      'permissions',
      missing.join('; '),
      `${section} in deploy/nats/permissions.conf has all that is needed`,
    );
  }
  const isOpen = await maySubscribe(nats, '_INBOX.nobody.doctor');
  const found = 'these credentials may read the answers that others get';
  const right = 'permit _INBOX.<its own name>.> to each, as deploy/nats does';
  if (isOpen && nats.info?.auth_required === true) findings.warn('permissions', found, right);
  else if (missing.length === 0)
    findings.ok(
      'permissions',
      isOpen
        ? 'everything may be done here, as nobody logs in'
        : `what a${role === 'worker' ? ' worker' : 'n administrator'} needs is permitted, and inboxes are apart`,
    );
}
