/** `warder check`, `roster`, `config` and `worker` as a person or a script calls them, over a real broker. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { builtMain } from './built.ts';
import { run } from './cli.ts';
import type { Ran } from './cli.ts';
import { freePort } from './free-port.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startProcess } from './process.ts';
import { startResponder } from './responder.ts';
import type { Answer, Responder } from './responder.ts';

let main: string;
let folder: string;
let nats: NatsServer;
let workers: Responder;

beforeAll(async () => {
  main = await builtMain();
  folder = mkdtempSync(join(tmpdir(), 'warder-test-cli-'));
  nats = await startNatsServer();
  workers = await startResponder(nats.url);
});
afterAll(async () => {
  await workers.stop();
  await nats.stop();
  rmSync(folder, { recursive: true });
});
beforeEach(() => workers.reset());

function warder(args: readonly string[], input?: string): Promise<Ran> {
  const options = { cwd: folder, env: { WARDER_NATS_URL: nats.url } };
  return run(process.execPath, [main, ...args], input === undefined ? options : { ...options, input });
}

const stanza = ['check', 'stanza', '--from', 'alice@localhost', '--to', 'bob@localhost'];
const joinDen = ['check', 'join', '--user', 'Alice@localhost', '--room', 'den@rooms.localhost'];
const session = ['check', 'session', '--user', 'alice@localhost/phone'];
const kept = { ttl_ms: 60_000, scope: 'pair' };

/** Without what differs from run to run. */
function steady(text: string): string {
  return text.replace(/took( +)\S+ (ms|µs|s)/g, 'took$1N ms').replaceAll(nats.url, 'NATS');
}

describe('warder check', () => {
  it('explains a deny: what the client sees, why, and how long it holds', async () => {
    const error = { type: 'auth', condition: 'forbidden', text: 'Not you.' };
    workers.on('stanza-check', () => ({ verdict: 'deny', error, reason: 'list 7', ...kept }));
    const { code, stdout, stderr } = await warder(stanza);
    expect(stderr).toBe('');
    expect(code).toBe(3);
    expect(steady(stdout)).toBe(`denied: a message of type chat from alice@localhost to bob@localhost does not
        pass, and the sender is told
  error     auth/forbidden, "Not you.", as the client sees it
  reason    list 7
  remember  for 60 s, for each message of type chat from alice@localhost to
            bob@localhost (scope pair)
  took      N ms, by xmpp.policy.v1.stanza-check at NATS
`);
  });

  it.each<{ name: string; answer: Answer; code: number; say: RegExp }>([
    { name: 'allow', answer: { verdict: 'allow', ...kept }, code: 0, say: /^allowed: .* passes$/m },
    {
      name: 'drop',
      answer: { verdict: 'drop', ...kept },
      code: 3,
      say: /^dropped: .* vanishes,\n +and nobody is told/,
    },
    {
      name: 'modify',
      answer: { verdict: 'modify', stanza: '<message/>', ...kept },
      code: 0,
      say: /^modified: [^]*instead +<message\/>[^]*remember +no: the hook asks each time/,
    },
    {
      name: 'defer',
      answer: { verdict: 'defer', error: { condition: 'resource-constraint' }, ttl_ms: 0, scope: 'none' },
      code: 3,
      say: /^deferred: [^]*error +wait\/resource-constraint, as the client sees it/,
    },
    {
      name: 'a deny without an error',
      answer: { verdict: 'deny', ...kept },
      code: 3,
      say: /error +no condition is named, so the client gets the hook's default/,
    },
    {
      name: 'a whole error in XML',
      answer: {
        verdict: 'deny',
        error: { xml: "<error type='modify'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>" },
        ...kept,
      },
      code: 3,
      say: /error +modify\/gone, as the client sees it/,
    },
    {
      name: 'a fallback',
      answer: { verdict: 'allow', degraded: 'source-unavailable', ttl_ms: 0, scope: 'none' },
      code: 0,
      say: /degraded +this is the configured fallback and no real decision, because of\n +source-unavailable/,
    },
    {
      name: 'a scope that is unknown, as none',
      answer: { verdict: 'allow', ttl_ms: 5_000, scope: 'galaxy' },
      code: 0,
      say: /remember +no: the hook asks each time/,
    },
    {
      name: 'a reason that would steer the terminal, harmlessly',
      answer: { verdict: 'allow', reason: '\u001b[2Jcleared\nallowed', ...kept },
      code: 0,
      say: /reason +\\u001b\[2Jcleared\\nallowed$/m,
    },
    {
      name: 'overloaded',
      answer: { failure: 'overloaded', text: 'Full.' },
      code: 1,
      say: /answered overloaded: Full\.\n/,
    },
    {
      name: 'source-unavailable, with what to do',
      answer: { failure: 'source-unavailable', text: 'No.' },
      code: 1,
      say: /next +the log of the workers names the source/,
    },
    {
      name: 'a failure that is unknown',
      answer: { failure: 'sulking', text: 'x' },
      code: 1,
      say: /no reply of the protocol: /,
    },
    { name: 'an unknown verdict', answer: { verdict: 'perhaps' }, code: 1, say: /no reply of the protocol: / },
    { name: 'another id', answer: { verdict: 'allow', id: 'other' }, code: 1, say: /another id/ },
    { name: 'rubbish', answer: new Uint8Array([0xc1, 0xff]), code: 1, say: /no reply of the protocol: / },
  ])('explains $name', async ({ answer, code, say }) => {
    workers.on('stanza-check', () => answer);
    const ran = await warder(stanza);
    expect(ran.stdout).toMatch(say);
    expect(ran.code).toBe(code);
  });

  it('says who keeps silent', async () => {
    workers.on('stanza-check', () => undefined);
    const { code, stdout } = await warder([...stanza, '--timeout', '100ms']);
    expect(stdout).toContain('no answer: a worker took the request and has not answered within 100 ms');
    expect(code).toBe(1);
  });

  it('says that no worker runs there, and what to do', async () => {
    const { code, stdout } = await warder([...stanza, '--prefix', 'elsewhere']);
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain(`no worker is running at ${nats.url} with the prefix elsewhere`);
    expect(stdout).toContain('warder worker --config FILE');
    expect(code).toBe(1);
  });

  it('says that there is no broker', async () => {
    const port = await freePort();
    const { code, stdout } = await warder([...stanza, '--nats', `nats://127.0.0.1:${port}`]);
    expect(stdout).toContain(`no NATS server at nats://127.0.0.1:${port} (connection refused)`);
    expect(code).toBe(1);
  });

  it('says that credentials are missing, and takes them from the address or from a configuration', async () => {
    const locked = await startNatsServer({ extraConfig: 'authorization { user: me, password: secret }' });
    try {
      const refused = await warder([...stanza, '--nats', locked.url]);
      expect(refused.stdout).toMatch(/refuses this\s+\('?Authorization Violation'?\)/);
      expect(refused.code).toBe(1);
      const file = join(folder, 'locked.yaml');
      writeFileSync(file, `nats: { url: '${locked.url}', user: me, password: secret }`);
      for (const given of [
        ['--nats', locked.url.replace('//', '//me:secret@')],
        ['--config', file, '--nats', locked.url],
      ]) {
        const { stdout } = await warder([...stanza, ...given]);
        expect(stdout).toContain('no answer: no worker is running');
        expect(stdout).not.toContain('secret');
      }
    } finally {
      await locked.stop();
    }
  });

  it('asks what a hook would ask', async () => {
    await warder([...stanza, '--body', 'a < b', '--hook', 'receive']);
    await warder([...joinDen, '--nick', 'Al', '--creating', '--event', 'nick-change']);
    await warder([...session, '--ip', '192.0.2.7', '--no-tls', '--mechanism', 'PLAIN']);
    const common = { v: 1, id: expect.any(String), budget_ms: 2_000, server: expect.any(String) };
    expect(workers.asked).toEqual([
      {
        ...common,
        operation: 'stanza-check',
        hook: 'receive',
        from: 'alice@localhost',
        to: 'bob@localhost',
        kind: 'message',
        type: 'chat',
        stanza: expect.stringContaining('<body>a &lt; b</body>'),
      },
      {
        ...common,
        operation: 'join-check',
        user: 'alice@localhost/warder-check',
        room: 'den@rooms.localhost',
        nick: 'Al',
        event: 'nick-change',
        creating: true,
      },
      {
        ...common,
        operation: 'session-check',
        user: 'alice@localhost/phone',
        ip: '192.0.2.7',
        tls: false,
        mechanism: 'PLAIN',
      },
    ]);
  });

  it('asks about a stanza of a file or of standard input', async () => {
    const xml = "<presence from='Alice@localhost/x' to='bob@localhost' type='subscribe'/>";
    const { code } = await warder(['check', 'stanza', '--stanza', '-'], `${xml}\n`);
    expect(code).toBe(0);
    expect(workers.asked).toMatchObject([
      { from: 'alice@localhost/x', to: 'bob@localhost', kind: 'presence', type: 'subscribe', stanza: xml },
    ]);
  });

  it('prints question and answer as JSON', async () => {
    workers.on('stanza-check', () => ({ verdict: 'deny', ...kept }));
    const denied = await warder([...stanza, '--json']);
    expect(denied.code).toBe(3);
    expect(JSON.parse(denied.stdout)).toMatchObject({
      operation: 'stanza-check',
      subject: 'xmpp.policy.v1.stanza-check',
      nats: [nats.url],
      question: { from: 'alice@localhost', kind: 'message' },
      reply: { verdict: 'deny', ttl_ms: 60_000 },
      took_ms: expect.any(Number),
    });
    workers.on('stanza-check', () => ({ failure: 'internal', text: 'Broken.' }));
    const failed = await warder([...stanza, '--json']);
    expect(failed.code).toBe(1);
    expect(JSON.parse(failed.stdout)).toMatchObject({ trouble: 'failure', failure: 'internal', detail: 'Broken.' });
  });

  it('can be read by a program that stops reading', async () => {
    const command = `"${process.execPath}" "${main}" check stanza --help | head -1`;
    expect(await run('sh', ['-c', command], { cwd: folder })).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('a command line that is wrong', () => {
  it.each<{ args: string[]; say: string; input?: string }>([
    { args: [...session, '--ip', '999'], say: 'It must be an IP address, such as 192.0.2.7 or 2001:db8::7.' },
    { args: [], say: 'Usage: warder' },
    { args: ['chek'], say: 'Did you mean check?' },
    { args: ['check', 'stanzas'], say: 'Did you mean stanza?' },
    { args: ['check', 'stanza'], say: 'who sends it? Give --from user@domain' },
    { args: ['check', 'stanza', '--from', 'a@b'], say: 'who is it for? Give --to user@domain' },
    { args: [...stanza.slice(0, -1), 'bob@'], say: '"bob@" has an empty domain' },
    { args: [...stanza.slice(0, -1), 'b b@localhost'], say: 'is not allowed there, in its node' },
    { args: [...stanza, '--kind', 'letter'], say: 'Allowed choices are message, presence, iq.' },
    { args: [...stanza, '--timeout', 'soon'], say: 'It must be milliseconds, or a time such as 250ms or 2s.' },
    { args: [...stanza, '--timeout', '0'], say: 'It must be more than 0' },
    { args: [...stanza, '--nats', 'http://x'], say: 'the scheme is nats or tls, not http' },
    { args: [...stanza, '--prefix', 'a..b'], say: 'must be tokens of letters' },
    { args: [...stanza, '--natz', 'x'], say: 'Did you mean --nats?' },
    { args: [...stanza, 'please'], say: 'too many arguments' },
    { args: [...stanza, '--stanza', 'nowhere.xml'], say: 'nowhere.xml cannot be read' },
    { args: ['check', 'stanza', '--stanza', '-'], input: '<letter/>', say: 'it must be <message>, <presence> or <iq>' },
    { args: ['check', 'stanza', '--stanza', '-'], input: '<message>', say: 'the stanza is no well-formed XML' },
    {
      args: [...stanza, '--stanza', '-'],
      input: "<message from='x@y'/>",
      say: '--from is alice@localhost, and the stanza says x@y',
    },
    { args: [...stanza, '--body', 'x', '--stanza', '-'], input: '<message/>', say: '--body is for the message' },
    { args: ['check', 'join', '--user', 'alice', '--room', 'a@b'], say: 'It has no user in it; write user@domain' },
    {
      args: ['check', 'join', '--user', 'a@b', '--room', 'r@b/nick'],
      say: 'write it as r@b and the nick as --nick nick',
    },
    { args: ['check', 'join', '--user', 'a@b'], say: "required option '--room <jid>' not specified" },
    { args: ['roster'], say: "missing required argument 'user'" },
    { args: ['roster', 'a@b/c'], say: 'It has a resource; write it as a@b' },
    { args: ['config', 'check'], say: "missing required argument 'file'" },
    { args: ['worker'], say: 'which configuration? Give --config FILE or set WARDER_CONFIG' },
    { args: ['worker', '--config', 'gone.yaml'], say: 'gone.yaml: there is no such file' },
    { args: ['dev', '--port', '70000'], say: 'It must be 1 to 65535.' },
  ])('is told what would be right: warder $args', async ({ args, say, input }) => {
    const { code, stdout, stderr } = await warder(args, input);
    expect(stderr).toContain(say);
    expect(stdout).toBe('');
    expect(code).toBe(2);
    expect(workers.asked).toEqual([]);
  });
});

describe('warder roster', () => {
  const items = [
    { jid: 'eve@localhost', subscription: 'none', ask: 'subscribe', groups: [] },
    { jid: 'bob@localhost', name: 'Bob', subscription: 'both', groups: ['Friends', 'Work'] },
  ];
  const alice = { version: 'v1', items, pending: [{ jid: 'dan@localhost', text: 'Hi' }] };

  it('shows rosters, and clearly those that could not be had', async () => {
    workers.on('roster-refresh', () => ({
      rosters: { 'alice@localhost': alice },
      failed: { 'bob@localhost': 'source-unavailable' },
    }));
    const { code, stdout } = await warder(['roster', 'ALICE@localhost', 'bob@localhost']);
    expect(code).toBe(1);
    expect(stdout.replace(/in \S+ m?s\n/, 'in N ms\n')).toBe(`alice@localhost  2 contacts, version v1
  CONTACT        NAME  SUBSCRIPTION  GROUPS
  bob@localhost  Bob   both          Friends, Work
  eve@localhost  -     none, asked   -
  waits for an answer: dan@localhost: Hi

no roster of bob@localhost: its source did not answer; the log of the workers says why

1 of 2 rosters, in N ms
`);
    expect(workers.asked).toMatchObject([{ users: ['alice@localhost', 'bob@localhost'], reason: 'changed' }]);
  });

  it('asks again, singly, for those that did not fit into one reply', async () => {
    workers.on('roster-refresh', ({ users }) => {
      const [first = '', ...others] = users as string[];
      return { rosters: { [first]: alice }, failed: Object.fromEntries(others.map((user) => [user, 'too-large'])) };
    });
    const { code, stdout } = await warder(['roster', 'a@localhost', 'b@localhost', 'c@localhost', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      rosters: { 'a@localhost': alice, 'b@localhost': alice, 'c@localhost': alice },
      failed: {},
    });
    expect(workers.asked.map(({ users }) => (users as string[]).length)).toEqual([3, 1, 1]);
  });

  it('explains a failure', async () => {
    workers.on('roster-refresh', () => ({ failure: 'overloaded', text: 'Full.' }));
    const { code, stdout } = await warder(['roster', 'alice@localhost']);
    expect(stdout).toContain('no answer: the worker answered overloaded: Full.');
    expect(code).toBe(1);
  });
});

describe('warder config check', () => {
  it('sums up what a file says', async () => {
    writeFileSync(
      join(folder, 'good.yaml'),
      `operations:
  stanza-check: { sources: { a.example: policy, '*': { source: policy, ttl_ms: 500, fallback: deny } } }
  roster-set: { fallback: defer, sources: { a.example: app, b.example: allow } }
sources:
  policy: { type: static, file: p.yaml }
  spare: { type: static, file: p.yaml }
  app: { type: http, url: "http://127.0.0.1:1/" }
`,
    );
    const { code, stdout } = await warder(['config', 'check', 'good.yaml']);
    expect(code).toBe(0);
    expect(steady(stdout)).toBe(`good.yaml: no problems
  nats                 NATS, prefix xmpp.policy.v1
  http                 http://127.0.0.1:9464/metrics
  stanza-check         a.example → policy (static, kept 60 s, fallback fail);
                       all domains → policy (static, kept 500 ms, fallback deny)
  join-check           no source: answered with source-unavailable, so that the
                       fallback of the hook decides
  session-check        no source: answered with source-unavailable, so that the
                       fallback of the hook decides
  roster-refresh       no source: answered with source-unavailable, so that the
                       fallback of the hook decides
  roster-set           a.example → app (http, fallback defer); b.example → allow
                       (constant); all domains → deny (constant)
  roster-subscription  all domains → deny (constant)
  user-removed         no source is told; what is remembered of the user is
                       forgotten
  unused               no operation names spare
`);
  });

  it('says everything that is wrong, for people and for machines', async () => {
    writeFileSync(join(folder, 'bad.yaml'), 'log: { level: x }\nhttp:\n  lisen: y\n');
    const { code, stdout } = await warder(['config', 'check', 'bad.yaml']);
    expect(code).toBe(2);
    expect(stdout).toMatch(/^bad\.yaml:1: log\.level: [^\n]*\nbad\.yaml:3: http\.lisen: [^\n]*\n2 problems\n$/);
    const json = await warder(['config', 'check', 'bad.yaml', '--json']);
    expect(json.code).toBe(2);
    expect(JSON.parse(json.stdout)).toMatchObject({
      valid: false,
      problems: [
        { path: 'log.level', line: 1 },
        { path: 'http.lisen', line: 3 },
      ],
    });
  });
});

describe('warder worker', () => {
  it('says why it waits for its broker, answers once it is there, and ends with 0', async () => {
    const port = await freePort();
    writeFileSync(join(folder, 'p.yaml'), 'stanzas: { default: allow }\n');
    writeFileSync(
      join(folder, 'w.yaml'),
      'operations: { stanza-check: { sources: policy } }\nsources: { policy: { type: static, file: p.yaml } }\n',
    );
    const env = { WARDER_NATS_URL: `nats://127.0.0.1:${port}`, WARDER_HTTP_LISTEN: '127.0.0.1:0' };
    const worker = await startProcess({
      command: process.execPath,
      args: [main, 'worker', '--config', join(folder, 'w.yaml')],
      cwd: tmpdir(),
      env,
      ready: /NATS cannot be reached/,
    });
    const broker = await startNatsServer({ port });
    try {
      await worker.waitForOutput(/worker ready/);
      const asked = await run(process.execPath, [main, ...stanza], { cwd: folder, env });
      expect(asked).toMatchObject({ code: 0, stderr: '' });
      expect(await worker.stop()).toEqual({ code: 0, signal: null });
    } finally {
      await worker.stop();
      await broker.stop();
    }
  });
});
