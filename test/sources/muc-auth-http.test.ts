import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Source } from '../../src/sources/source.ts';
import { joinQuestion } from '../questions.ts';
import { conformsAsHttpSource } from './conformance.ts';
import { make, patient } from './context.ts';
import { HttpService, answer } from './http-service.ts';

conformsAsHttpSource('muc-auth-http', {
  type: 'muc-auth-http',
  options: (url) => ({ url: `${url}/auth` }),
  ask: async (source, call) => (await source.decide?.(joinQuestion(), call))?.decision.verdict,
  answers: {
    allow: { body: '{"allowed":true}', is: 'allow' },
    deny: { body: '{"allowed":false,"error":"nope"}', is: 'deny' },
  },
  rubbish: {
    'no JSON': '<h1>It works!</h1>',
    'a list': '[]',
    true: 'true',
    null: 'null',
    'allowed as a text': '{"allowed":"true"}',
    'allowed as a number': '{"allowed":1}',
    'allowed as null': '{"allowed":null}',
    'no allowed': '{}',
    'allowed twice': '{"allowed":true,"allowed":false}',
    'error as a number': '{"allowed":true,"error":5}',
  },
});

describe('muc-auth-http', () => {
  let service: HttpService;
  let source: Source;
  beforeEach(async () => {
    service = await HttpService.start();
    service.behave = answer(200, '{"allowed":false,"error":"not a member"}');
  });
  afterEach(async () => {
    await source.stop();
    await service.stop();
  });
  const open = async (more: object = {}, path = '/auth') => {
    ({ source } = await make({ type: 'muc-auth-http', url: service.url + path, ...more }));
  };
  const decide = (fields: object = {}) => source.decide?.(joinQuestion({ ...fields }), patient);

  it('asks as Prosody does, with everything encoded', async () => {
    await open();
    await decide({ nick: "Al ice&x=1#é(*)'!" });
    expect(service.seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'GET /auth?userJID=alice%40localhost&mucJID=lobby%40rooms.localhost&nickname=Al%20ice%26x%3D1%23%C3%A9%28%2A%29%27%21',
    ]);
  });

  it('keeps a query that the URL has already', async () => {
    await open({}, '/auth?key=1');
    await decide();
    expect(service.seen[0]?.url).toMatch(/^\/auth\?key=1&userJID=alice%40localhost&/);
  });

  it('denies with auth/forbidden and keeps the error for the log', async () => {
    await open();
    expect(await decide()).toEqual({
      decision: { verdict: 'deny', error: { type: 'auth', condition: 'forbidden' }, reason: 'not a member' },
      scope: 'exact',
    });
  });

  it('shows the error to the user only when told to', async () => {
    await open({ show_error: true });
    expect((await decide())?.decision.error).toEqual({ type: 'auth', condition: 'forbidden', text: 'not a member' });
  });

  it('denies with the configured condition, and the type that goes with it', async () => {
    await open({ denied: { condition: 'not-allowed' } });
    expect((await decide())?.decision.error).toEqual({ type: 'cancel', condition: 'not-allowed' });
  });

  it('cuts an error that is longer than the protocol takes', async () => {
    await open({ show_error: true });
    service.behave = answer(200, JSON.stringify({ allowed: false, error: 'x'.repeat(5_000) }));
    expect((await decide())?.decision.reason).toHaveLength(1024);
  });

  it('shows nothing that XML forbids, and no half of a character', async () => {
    await open({ show_error: true });
    service.behave = answer(200, JSON.stringify({ allowed: false, error: `\u0000${'x'.repeat(1022)}😀` }));
    expect((await decide())?.decision.error?.text).toBe(`\ufffd${'x'.repeat(1022)}`);
  });

  it('checks only the rooms of enabled_for', async () => {
    await open({ enabled_for: ['Staff'] });
    expect(source.unchecked?.(joinQuestion({ room: 'staff@rooms.localhost' }))).toBeUndefined();
    expect(source.unchecked?.(joinQuestion())).toBe('the room is not in enabled_for');
  });

  it('checks all rooms but those of disabled_for', async () => {
    await open({ disabled_for: ['lobby'] });
    expect(source.unchecked?.(joinQuestion({ room: 'staff@rooms.localhost' }))).toBeUndefined();
    expect(source.unchecked?.(joinQuestion())).toBe('the room is in disabled_for');
  });

  it('asks once for the same user, room and nick, whatever the resource', async () => {
    await open();
    const identity = source.identity?.(joinQuestion());
    expect(source.identity?.(joinQuestion({ user: 'alice@localhost/laptop' }))).toBe(identity);
    expect(source.identity?.(joinQuestion({ nick: 'Bob' }))).not.toBe(identity);
    expect(source.identity?.(joinQuestion({ room: 'staff@rooms.localhost' }))).not.toBe(identity);
  });
});
