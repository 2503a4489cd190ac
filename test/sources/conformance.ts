/** What every type of source does alike, as suites that each type's test runs with its own words. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Call, Source, SourceOutcome } from '../../src/sources/source.ts';
import { SourceUnavailable } from '../../src/sources/source.ts';
import { make, patient } from './context.ts';
import type { Told } from './context.ts';
import { HttpService, answer, breakOff, certificateFile, keepSilent } from './http-service.ts';

/** A source that has been set up to give one of its answers. */
export interface Stage {
  readonly source: Source;
  /** Resolves when nothing of a stopped source is left open. */
  released(): Promise<void>;
  clear(): Promise<void>;
}

export interface Subject {
  readonly type: string;
  /** By what it is called, what the source is asked about and what has to come of it. */
  readonly answers: Readonly<Record<string, unknown>>;
  open(name: string): Promise<Stage>;
  /** Asks, and makes of the answer what is compared. */
  ask(source: Source, call: Call): Promise<unknown>;
}

export function conformsAsSource(title: string, subject: Subject): void {
  describe(title, () => {
    const names = Object.keys(subject.answers);

    it.each(names)('answers: %s', async (name) => {
      const stage = await subject.open(name);
      expect(await subject.ask(stage.source, patient)).toEqual(subject.answers[name]);
      await stage.source.stop();
      await stage.clear();
    });

    it('answers many at once alike', async () => {
      const [name = ''] = names;
      const stage = await subject.open(name);
      const warnings: Error[] = [];
      const warned = (warning: Error) => warnings.push(warning);
      process.on('warning', warned);
      const answers = await Promise.all(Array.from({ length: 40 }, () => subject.ask(stage.source, patient)));
      expect(answers).toEqual(answers.map(() => subject.answers[name]));
      process.off('warning', warned);
      expect(warnings).toEqual([]);
      await stage.source.stop();
      await stage.clear();
    });

    it('says its name and its type', async () => {
      const stage = await subject.open(names[0] ?? '');
      expect({ name: stage.source.name, type: stage.source.type }).toEqual({ name: 'under-test', type: subject.type });
      await stage.source.stop();
      await stage.clear();
    });

    it('leaves nothing open when it is stopped', async () => {
      const stage = await subject.open(names[0] ?? '');
      await subject.ask(stage.source, patient);
      await stage.source.stop();
      await stage.released();
      await stage.clear();
    });
  });
}

export interface HttpSubject {
  readonly type: string;
  /** The options beside `type`, for a service at this URL. */
  options(url: string): object;
  ask(source: Source, call: Call): Promise<unknown>;
  /** By name: the body of a 200, and what has to come of it. */
  readonly answers: Readonly<Record<string, { readonly body: string; readonly is: unknown }>>;
  /** What is told and not asked is never sent twice. */
  readonly once?: true;
  /** By name: bodies that are no answer. */
  readonly rubbish: Readonly<Record<string, string>>;
}

export function conformsAsHttpSource(title: string, subject: HttpSubject): void {
  const [good = { body: '', is: undefined }] = Object.values(subject.answers);
  const optionsFor = (url: string, more: object = {}) => ({ type: subject.type, ...subject.options(url), ...more });

  conformsAsSource(`${title}, as any source`, {
    type: subject.type,
    answers: Object.fromEntries(Object.entries(subject.answers).map(([name, { is }]) => [name, is])),
    ask: subject.ask,
    async open(name) {
      const service = await HttpService.start();
      service.behave = answer(200, subject.answers[name]?.body ?? '');
      const { source } = await make(optionsFor(service.url));
      return {
        source,
        released: () => service.until(() => service.connections === 0),
        clear: () => service.stop(),
      };
    },
  });

  describe(`${title}, over HTTP`, () => {
    let service: HttpService;
    let source: Source;
    let told: Told;
    const open = async (more: object = {}) => {
      ({ source, told } = await make(optionsFor(service.url, more)));
    };
    const outcome = async (call: Call = patient): Promise<SourceOutcome | 'ok'> => {
      try {
        await subject.ask(source, call);
        return 'ok';
      } catch (error) {
        if (error instanceof SourceUnavailable) return error.outcome;
        throw error;
      }
    };

    beforeEach(async () => {
      service = await HttpService.start();
    });
    afterEach(async () => {
      vi.useRealTimers();
      await source.stop();
      await service.stop();
    });

    const bad = Object.entries({
      empty: '',
      truncated: good.body.slice(0, -3),
      'over 1 MiB': ' '.repeat(1_048_577),
      ...subject.rubbish,
    });
    it.each(bad)('takes no answer from a body that is no answer: %s', async (_, body) => {
      await open();
      service.behave = answer(200, body);
      expect(await outcome()).toBe('bad-answer');
      expect(told.outcomes).toEqual(['bad-answer']);
    });

    it('takes no answer from a body that is no UTF-8', async () => {
      await open();
      service.behave = answer(200, Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(good.body)]));
      expect(await outcome()).toBe('bad-answer');
    });

    it.each([201, 299])('takes status %i as an answer', async (status) => {
      await open();
      service.behave = answer(status, good.body);
      expect(await outcome()).toBe('ok');
    });

    it.each([301, 302, 307, 400, 401, 403, 404, 429, 500, 503])('takes no answer from status %i', async (status) => {
      await open();
      service.behave = answer(status, good.body, { location: `${service.url}/elsewhere` });
      expect(await outcome()).toBe('bad-status');
      expect(service.seen).toHaveLength(1);
    });

    it('gives up on a service that does not answer in time', async () => {
      await open({ timeout_ms: 50 });
      service.behave = keepSilent;
      expect(await outcome()).toBe('timeout');
      expect(told.outcomes).toEqual(['timeout']);
    });

    it('gives up on a service whose answer does not end in time', async () => {
      await open({ timeout_ms: 50 });
      service.behave = (response) => void response.writeHead(200).write(good.body.slice(0, 5));
      expect(await outcome()).toBe('timeout');
    });

    it('says so when nobody listens', async () => {
      await open();
      await service.stop();
      expect(await outcome()).toBe('unreachable');
    });

    it('says so when the connection breaks off in the answer', async () => {
      await open();
      service.behave = breakOff;
      expect(await outcome()).toBe('unreachable');
    });

    if (subject.once) {
      it('never tells twice, also when a connection breaks before the answer', async () => {
        await open();
        service.behave = answer(200, good.body);
        await outcome();
        service.behave = (response) => void response.socket?.destroy();
        expect(await outcome()).toBe('unreachable');
        expect(service.seen).toHaveLength(2);
      });
    } else {
      it('asks once more when a connection breaks before the answer, as when the service restarts', async () => {
        await open();
        service.behave = answer(200, good.body);
        await outcome();
        service.behave = (response) => {
          service.behave = answer(200, good.body);
          response.socket?.destroy();
        };
        expect(await outcome()).toBe('ok');
        expect(service.seen).toHaveLength(3);
      });

      it('asks once more and no more', async () => {
        await open();
        service.behave = (response) => void response.socket?.destroy();
        expect(await outcome()).toBe('unreachable');
        expect(service.seen).toHaveLength(2);
      });
    }

    it('ends a call that nobody waits for, and does not blame the service', async () => {
      await open({ breaker: { failures: 1 } });
      const waiting = new AbortController();
      const cut = new Promise<void>((resolve) => {
        service.behave = (response) => {
          response.on('close', resolve);
          waiting.abort();
        };
      });
      expect(await outcome({ signal: waiting.signal })).toBe('abandoned');
      await cut;
      service.behave = answer(200, good.body);
      expect(await outcome()).toBe('ok');
    });

    it('asks nobody when nobody waits from the first', async () => {
      await open();
      expect(await outcome({ signal: AbortSignal.abort() })).toBe('abandoned');
      expect(service.seen).toEqual([]);
    });

    it('fails the calls under way when it is stopped', async () => {
      await open();
      service.behave = keepSilent;
      const calls = [outcome(), outcome()];
      await service.until(() => service.seen.length === 2);
      await source.stop();
      expect(await Promise.all(calls)).toEqual(['unreachable', 'unreachable']);
      expect(await outcome()).toBe('unreachable');
    });

    it('leaves a service alone that has failed again and again, and tries it once after a while', async () => {
      await open({ breaker: { failures: 2, half_open_after_ms: 5_000 } });
      service.behave = answer(500, '');
      expect([await outcome(), await outcome(), await outcome()]).toEqual(['bad-status', 'bad-status', 'breaker-open']);
      expect(service.seen).toHaveLength(2);
      vi.useFakeTimers({ toFake: ['Date'] });
      vi.setSystemTime(Date.now() + 5_001);
      service.behave = keepSilent;
      const trial = outcome();
      await service.until(() => service.seen.length === 3);
      expect(await outcome()).toBe('breaker-open');
      await service.stop();
      expect(await trial).toBe('unreachable');
      expect(await outcome()).toBe('breaker-open');
    });

    it('asks again as before when the trial succeeds', async () => {
      await open({ breaker: { failures: 1, half_open_after_ms: 5_000 } });
      service.behave = answer(500, '');
      expect([await outcome(), await outcome()]).toEqual(['bad-status', 'breaker-open']);
      vi.useFakeTimers({ toFake: ['Date'] });
      vi.setSystemTime(Date.now() + 5_001);
      service.behave = answer(200, good.body);
      expect([await outcome(), await outcome()]).toEqual(['ok', 'ok']);
    });

    it('does not let answers that cannot be used close the way for all others', async () => {
      await open({ breaker: { failures: 1 } });
      service.behave = answer(200, '');
      expect([await outcome(), await outcome()]).toEqual(['bad-answer', 'bad-answer']);
    });

    it('has no more calls under way than allowed, and no more waiting', async () => {
      await open({ max_concurrent: 1, max_queued: 1 });
      const held: (() => void)[] = [];
      service.behave = (response) => held.push(() => response.end(good.body));
      const first = outcome();
      await service.until(() => held.length === 1);
      const second = outcome();
      expect(await outcome()).toBe('bulkhead-full');
      expect(service.seen).toHaveLength(1);
      held[0]?.();
      await service.until(() => held.length === 2);
      held[1]?.();
      expect([await first, await second]).toEqual(['ok', 'ok']);
    });

    it('never asks for who has given up waiting for a place', async () => {
      await open({ max_concurrent: 1, max_queued: 1 });
      const held: (() => void)[] = [];
      service.behave = (response) => held.push(() => response.end(good.body));
      const first = outcome();
      await service.until(() => held.length === 1);
      const waiting = new AbortController();
      const second = outcome({ signal: waiting.signal });
      waiting.abort();
      expect(await second).toBe('abandoned');
      held[0]?.();
      expect(await first).toBe('ok');
      expect(service.seen).toHaveLength(1);
    });

    it('sends the configured headers, the trace context, and no trace context that is none', async () => {
      await open({ authorization_header: 'Bearer s3cret', headers: { 'X-Realm': 'chat' } });
      service.behave = answer(200, good.body);
      const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
      await outcome({ ...patient, traceparent });
      await outcome({ ...patient, traceparent: '00-x\r\nevil: 1' });
      const [first, second] = service.seen;
      expect(first?.headers).toMatchObject({ authorization: 'Bearer s3cret', 'x-realm': 'chat', traceparent });
      expect(second?.headers).not.toHaveProperty('traceparent');
    });

    it('uses its connections again', async () => {
      await open();
      const ports = new Set<number | undefined>();
      service.behave = (response) => {
        ports.add(response.socket?.remotePort);
        response.end(good.body);
      };
      for (let i = 0; i < 10; i += 1) await outcome();
      // The pool may open a second while it does not yet know that the first is free again.
      expect(ports.size).toBeLessThanOrEqual(2);
    });
  });

  describe(`${title}, over TLS`, () => {
    it.each([
      ['refuses a certificate that nobody vouches for', {}, 'unreachable'],
      ['takes a certificate that ca_file vouches for', { ca_file: certificateFile }, 'ok'],
      ['takes any certificate when insecure', { insecure: true }, 'ok'],
    ])('%s', async (_, more, expected) => {
      const service = await HttpService.startTls();
      service.behave = answer(200, good.body);
      const { source, told } = await make(optionsFor(service.url, more));
      await subject.ask(source, patient).catch(() => undefined);
      expect(told.outcomes).toEqual([expected]);
      await source.stop();
      await service.stop();
    });

    it('does not start with a ca_file that cannot be read', async () => {
      await expect(make(optionsFor('https://127.0.0.1:1', { ca_file: '/nonexistent/ca.pem' }))).rejects.toThrow(
        'ENOENT',
      );
    });
  });
}
