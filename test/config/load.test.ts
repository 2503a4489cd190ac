import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig, parseConfig } from '../../src/config/load.ts';
import { ConfigInvalid } from '../../src/config/problems.ts';
import type { Config } from '../../src/config/schema.ts';

function problemsOf(yaml: string, env: NodeJS.ProcessEnv = {}): string[] {
  try {
    parseConfig(yaml, 'w.yaml', env);
  } catch (error) {
    if (error instanceof ConfigInvalid) return error.message.split('\n');
    throw error;
  }
  return [];
}

const policy = 'sources: { policy: { type: static, file: p.yaml } }\n';

describe('a configuration that is wrong', () => {
  it.each<{ name: string; yaml: string; env?: NodeJS.ProcessEnv; want: string[] }>([
    {
      name: 'an unknown section',
      yaml: 'nat: {}',
      want: [
        'w.yaml:1: nat: is unknown here; did you mean nats? ' +
          'Known: nats, http, log, limits, cache, roster, freshness, operations, sources',
      ],
    },
    {
      name: 'a key without its unit',
      yaml: 'operations:\n  join-check:\n    ttl: 5',
      want: [
        'w.yaml:3: operations.join-check.ttl: is unknown here; did you mean ttl_ms? Known: ttl_ms, fallback, unproved_ms, sources',
      ],
    },
    {
      name: 'a host with a user in it',
      yaml: 'roster: { default_host: alice@example.org }',
      want: ['w.yaml:1: roster.default_host: must be a host of the XMPP servers, such as example.org'],
    },
    {
      name: 'a text where a number belongs',
      yaml: 'limits:\n  max_in_flight: many',
      want: ['w.yaml:2: limits.max_in_flight: must be a number, not the text "many"'],
    },
    {
      name: 'a fraction where a whole number belongs',
      yaml: 'limits: { max_in_flight: 1.5 }',
      want: ['w.yaml:1: limits.max_in_flight: must be a whole number, not 1.5'],
    },
    {
      name: 'a number out of range',
      yaml: 'limits: { max_in_flight: 0 }',
      want: ['w.yaml:1: limits.max_in_flight: must be at least 1, not 0'],
    },
    {
      name: 'a mistyped word',
      yaml: 'log: { level: inof }',
      want: [
        'w.yaml:1: log.level: must be one of trace, debug, info, warn, error, silent, not the text "inof"; did you mean info?',
      ],
    },
    {
      name: 'a list where a map belongs',
      yaml: 'log: [info]',
      want: ['w.yaml:1: log: must be a map, not a list'],
    },
    {
      name: 'yes for true',
      yaml: 'sources: { a: { type: http, url: "http://h/", insecure: yes } }',
      want: [
        'w.yaml:1: sources.a.insecure: must be true or false, not the text "yes"; YAML 1.2 has only true and false',
      ],
    },
    {
      name: 'a port alone',
      yaml: 'http: { listen: 9464 }',
      want: ['w.yaml:1: http.listen: must be an address and a port, for instance 127.0.0.1:9464'],
    },
    {
      name: 'a port that there is not',
      yaml: 'http: { listen: "127.0.0.1:99999" }',
      want: ['w.yaml:1: http.listen: the port must be at most 65535'],
    },
    {
      name: 'a prefix with a wildcard',
      yaml: 'nats: { subject_prefix: xmpp.* }',
      want: ['w.yaml:1: nats.subject_prefix: must be tokens of letters, digits, _ and -, separated by dots'],
    },
    {
      name: 'a broker of another kind',
      yaml: 'nats: { url: "http://h:4222" }',
      want: [
        'w.yaml:1: nats.url: must be a URL such as nats://127.0.0.1:4222, or a list of them; the scheme is nats or tls, not http',
      ],
    },
    {
      name: 'one wrong broker of two',
      yaml: 'nats:\n  url:\n    - nats://h:4222\n    - nats://h:4222/x',
      want: [
        'w.yaml:4: nats.url[1]: must be a URL such as nats://127.0.0.1:4222, or a list of them; nothing goes after the port',
      ],
    },
    {
      name: 'a user without a password',
      yaml: 'nats: { user: warder }',
      want: ['w.yaml:1: nats.user: needs a password beside it'],
    },
    {
      name: 'two ways to authenticate',
      yaml: 'nats: { token: t, creds_file: f }',
      want: ['w.yaml:1: nats.creds_file: stands beside token; one way to authenticate is enough'],
    },
    {
      name: 'a key beside a password',
      yaml: 'nats: { user: warder, password: p, nkey_file: worker.nk }',
      want: ['w.yaml:1: nats.nkey_file: stands beside user; one way to authenticate is enough'],
    },
    {
      name: 'an inbox that a wildcard would not cover as one token',
      yaml: 'nats: { inbox: a.b }',
      want: [
        'w.yaml:1: nats.inbox: must be one token of letters, digits, _ and -; replies arrive under _INBOX.<inbox>',
      ],
    },
    {
      name: 'a source that there is not',
      yaml: `${policy}operations:\n  join-check: { sources: polcy }`,
      want: [
        'w.yaml:3: operations.join-check.sources: no source is named "polcy"; did you mean policy? There are policy',
      ],
    },
    {
      name: 'a source where there are none',
      yaml: 'operations:\n  join-check: { sources: policy }',
      want: ['w.yaml:2: operations.join-check.sources: no source is named "policy"; no sources are configured'],
    },
    {
      name: 'a source that cannot answer the question',
      yaml: 'sources: { c: { type: roster-http, url: "http://h/%s" } }\noperations:\n  join-check: { sources: c }',
      want: [
        'w.yaml:3: operations.join-check.sources: a roster-http source cannot answer join-check; it can answer roster-refresh',
      ],
    },
    {
      name: 'a domain in capitals',
      yaml: `${policy}operations:\n  join-check:\n    sources:\n      Rooms.Example: policy`,
      want: [
        'w.yaml:5: operations.join-check.sources."Rooms.Example": "Rooms.Example" is no domain in its normal form; write it as rooms.example',
      ],
    },
    {
      name: 'a user in place of a domain',
      yaml: `${policy}operations:\n  join-check:\n    sources:\n      a@rooms: policy`,
      want: [
        'w.yaml:5: operations.join-check.sources.a@rooms: "a@rooms" is no domain in its normal form; leave user and resource out',
      ],
    },
    {
      name: 'a mistake within the short form of a route',
      yaml: `${policy}operations:\n  join-check:\n    sources:\n      source: policy\n      ttl: 1`,
      want: [
        'w.yaml:6: operations.join-check.sources.ttl: is unknown here; did you mean ttl_ms? Known: source, ttl_ms, fallback',
      ],
    },
    {
      name: 'a fallback that rosters have not',
      yaml: 'operations:\n  roster-refresh:\n    fallback: allow',
      want: ['w.yaml:3: operations.roster-refresh.fallback: must be one of fail, stale, not the text "allow"'],
    },
    {
      name: 'a source with a name that is taken',
      yaml: 'sources:\n  deny: { type: static, file: p.yaml }',
      want: [
        'w.yaml:2: sources.deny: is always there without being configured, and answers deny to everything; give this source another name',
      ],
    },
    {
      name: 'a verdict where a roster is wanted',
      yaml: 'operations:\n  roster-refresh: { sources: allow }',
      want: [
        'w.yaml:2: operations.roster-refresh.sources: allow is a verdict and cannot answer roster-refresh; ' +
          'it can answer stanza-check, join-check, session-check, roster-set, roster-subscription',
      ],
    },
    {
      name: 'what nothing of a changed roster is remembered for',
      yaml: 'operations:\n  roster-set:\n    ttl_ms: 5\n    fallback: stale',
      want: [
        'w.yaml:3: operations.roster-set.ttl_ms: is unknown here; Known: fallback, sources',
        'w.yaml:4: operations.roster-set.fallback: must be one of fail, allow, deny, defer, not the text "stale"',
      ],
    },
    {
      name: 'a source that cannot be told of changed rosters',
      yaml: `${policy}operations:\n  roster-set: { sources: policy }`,
      want: [expect.stringContaining('a static source cannot answer roster-set; it can answer stanza-check,')],
    },
    {
      name: 'a database without the statements that an operation needs',
      yaml:
        'sources: { db: { type: roster-sql, url: "postgres://h/d", query: "SELECT $1 AS jid" } }\n' +
        'operations:\n  roster-refresh: { sources: db }\n  roster-set: { sources: db }',
      want: [
        'w.yaml:4: operations.roster-set.sources: needs statements of the source: sources.db has no set and no remove',
      ],
    },
    {
      name: 'a secret that is not in the environment',
      yaml: 'nats: { token: { env: NATS_TOKEN } }',
      want: ['w.yaml:1: nats.token: the environment has no variable NATS_TOKEN'],
    },
    {
      name: 'a secret in the wrong place, which is not repeated',
      yaml: 'log: { level: { env: PASSWORD } }',
      env: { PASSWORD: 'hunter2' },
      want: ['w.yaml:1: log.level: must be one of trace, debug, info, warn, error, silent, not a text'],
    },
    {
      name: 'a mistyped variable',
      yaml: '',
      env: { WARDER_NAT_URL: 'nats://h' },
      want: [
        'environment: WARDER_NAT_URL: is no variable of Warder; did you mean WARDER_NATS_URL? ' +
          'Known: WARDER_NATS_URL, WARDER_HTTP_LISTEN, WARDER_SUBJECT_PREFIX, WARDER_LOG_LEVEL, WARDER_CONFIG',
      ],
    },
    {
      name: 'a wrong value in a variable, whatever the file says',
      yaml: 'log: { level: info }',
      env: { WARDER_LOG_LEVEL: 'deb' },
      want: [
        'environment: WARDER_LOG_LEVEL: must be one of trace, debug, info, warn, error, silent, not the text "deb"; did you mean debug?',
      ],
    },
    {
      name: 'a key that comes twice',
      yaml: 'log:\n  level: info\n  level: warn',
      want: ['w.yaml:3: Map keys must be unique'],
    },
    {
      name: 'a list as the whole',
      yaml: '- nats',
      want: ['w.yaml: must be a map of nats, http, log, operations, sources, …'],
    },
    {
      name: 'an alias of nothing',
      yaml: 'log: *gone',
      want: ['w.yaml: Unresolved alias (the anchor must be set before the alias): gone'],
    },
    {
      name: 'several things at once, in the order of the file',
      yaml: 'log: { level: x }\nlimits:\n  max_in_flight: x\noperations:\n  join-check: { sources: nobody }',
      want: [
        'w.yaml:1: log.level: must be one of trace, debug, info, warn, error, silent, not the text "x"',
        'w.yaml:3: limits.max_in_flight: must be a number, not the text "x"',
        'w.yaml:5: operations.join-check.sources: no source is named "nobody"; no sources are configured',
      ],
    },
  ])('says of $name what is wrong, where, and what would be right', ({ yaml, env, want }) => {
    expect(problemsOf(yaml, env)).toEqual(want);
  });

  it('stops aliases that multiply', () => {
    const lines = Array.from({ length: 12 }, (_, index) => {
      const before = index === 0 ? '"x"' : `*a${index - 1}`;
      return `a${index}: &a${index} [${Array.from({ length: 10 }, () => before).join(', ')}]`;
    });
    expect(problemsOf(lines.join('\n'))).toEqual([
      'w.yaml: Excessive alias count indicates a resource exhaustion attack',
    ]);
  });
});

describe('a configuration that is right', () => {
  const whole = { source: 'policy' };
  it.each<{ name: string; yaml: string; env?: NodeJS.ProcessEnv; want: (config: Config) => unknown; be: unknown }>([
    { name: 'nothing at all', yaml: '', want: ({ nats }) => nats.url, be: ['nats://127.0.0.1:4222'] },
    {
      name: 'sections of which everything is commented out',
      yaml: 'nats:\nsources:\noperations:\n  join-check:\n',
      want: ({ operations }) => operations['join-check'],
      be: { ttl_ms: 60_000, fallback: 'fail', unproved_ms: 0, sources: {} },
    },
    {
      name: 'one source for everybody, by its name',
      yaml: `${policy}operations: { join-check: { sources: policy } }`,
      want: ({ operations }) => operations['join-check'].sources,
      be: { '*': whole },
    },
    {
      name: 'one source for everybody, with settings of its own',
      yaml: `${policy}operations: { join-check: { sources: { source: policy, fallback: deny } } }`,
      want: ({ operations }) => operations['join-check'].sources,
      be: { '*': { ...whole, fallback: 'deny' } },
    },
    {
      name: 'sources by domain, in both forms',
      yaml: `${policy}operations: { join-check: { sources: { a.example: policy, "*": { source: policy, ttl_ms: 5 } } } }`,
      want: ({ operations }) => operations['join-check'].sources,
      be: { 'a.example': whole, '*': { ...whole, ttl_ms: 5 } },
    },
    {
      name: 'changed rosters, which are refused where nothing else is said',
      yaml: '',
      want: ({ operations }) => [operations['roster-set'], operations['roster-subscription']],
      be: Array.from({ length: 2 }, () => ({ fallback: 'fail', sources: { '*': { source: 'deny' } } })),
    },
    {
      name: 'changed rosters of one domain, without a word about the others',
      yaml: 'operations: { roster-set: { sources: { a.example: allow } } }',
      want: ({ operations }) => operations['roster-set'].sources,
      be: { 'a.example': { source: 'allow' }, '*': { source: 'deny' } },
    },
    {
      name: 'verdicts as sources',
      yaml: 'operations: { stanza-check: { sources: allow }, join-check: { sources: deny }, session-check: { sources: allow } }',
      want: ({ operations }) => [operations['stanza-check'].sources, operations['join-check'].sources],
      be: [{ '*': { source: 'allow' } }, { '*': { source: 'deny' } }],
    },
    {
      name: 'brokers with commas between them',
      yaml: 'nats: { url: "nats://a:1, b:2" }',
      want: ({ nats }) => nats.url,
      be: ['nats://a:1', 'b:2'],
    },
    {
      name: 'user and password in the address',
      yaml: '',
      env: { WARDER_NATS_URL: 'nats://me:p%40ss@[::1]:4222,nats://b:4222' },
      want: ({ nats }) => nats,
      be: {
        url: ['nats://[::1]:4222', 'nats://b:4222'],
        user: 'me',
        password: 'p@ss',
        subject_prefix: 'xmpp.policy.v1',
      },
    },
    {
      name: 'a token in the address',
      yaml: 'nats: { url: "nats://t0k@h:4222" }',
      want: ({ nats }) => [nats.url, nats.token],
      be: [['nats://h:4222'], 't0k'],
    },
    {
      name: 'credentials in the address, which replace those of the file',
      yaml: 'nats: { user: u, password: p }',
      env: { WARDER_NATS_URL: 'nats://t0k@h' },
      want: ({ nats }) => nats,
      be: { url: ['nats://h'], token: 't0k', subject_prefix: 'xmpp.policy.v1' },
    },
    {
      name: 'variables that override the file',
      yaml: 'log: { level: warn }\nhttp: { listen: "127.0.0.1:1" }\nnats: { subject_prefix: a, url: x }',
      env: {
        WARDER_LOG_LEVEL: 'debug',
        WARDER_HTTP_LISTEN: '[::1]:2',
        WARDER_SUBJECT_PREFIX: 'b',
        WARDER_NATS_URL: 'nats://y',
      },
      want: ({ log, http, nats }) => [log.level, http.listen, nats.subject_prefix, nats.url],
      be: ['debug', '[::1]:2', 'b', ['nats://y']],
    },
    {
      name: 'empty variables, which count as none',
      yaml: 'log: { level: warn }',
      env: { WARDER_LOG_LEVEL: '', WARDER_NATS_URL: ' ' },
      want: ({ log, nats }) => [log.level, nats.url],
      be: ['warn', ['nats://127.0.0.1:4222']],
    },
    {
      name: 'variables that the file itself names, and those that Kubernetes makes of a service named warder',
      yaml: 'nats: { token: { env: WARDER_TOKEN } }',
      env: {
        WARDER_TOKEN: 't',
        WARDER_SERVICE_HOST: '10.0.0.1',
        WARDER_PORT_9464_TCP_ADDR: '10.0.0.1',
        WARDER_PORT: 'x',
      },
      want: ({ nats }) => nats.token,
      be: 't',
    },
  ])('may be $name', ({ yaml, env, want, be }) => {
    expect(want(parseConfig(yaml, 'w.yaml', env ?? {}))).toEqual(be);
  });

  it('cannot be changed', () => {
    const config = parseConfig('', 'w.yaml', {});
    expect(() => Object.assign(config.operations['join-check'], { ttl_ms: 1 })).toThrow(TypeError);
  });
});

describe('loadConfig', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'warder-test-config-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('begins paths and secret files at the folder of the file', () => {
    writeFileSync(join(folder, 'token'), 's3cret\n');
    const file = join(folder, 'w.yaml');
    writeFileSync(file, `nats: { token: { file: token }, tls: { ca_file: ca.pem } }\n${policy}`);
    const config = loadConfig(file, {});
    expect(config.nats.token).toBe('s3cret');
    expect(config.nats.tls?.ca_file).toBe(join(folder, 'ca.pem'));
    expect(config.sources['policy']).toMatchObject({ file: join(folder, 'p.yaml') });
  });

  it('says which secret file cannot be read', () => {
    const file = join(folder, 'missing.yaml');
    writeFileSync(file, 'nats: { token: { file: gone } }');
    expect(() => loadConfig(file, {})).toThrow(/missing\.yaml:1: nats\.token: the file cannot be read: ENOENT/);
  });

  it('says what stands in place of the file', () => {
    expect(() => loadConfig(join(folder, 'none.yaml'), {})).toThrow('none.yaml: there is no such file');
    expect(() => loadConfig(folder, {})).toThrow('is a folder; the configuration is one YAML file');
  });
});
