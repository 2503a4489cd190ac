import { connect } from 'nats';
import { describe, expect, it } from 'vitest';
import { decodeMessagePack, encodeMessagePack } from '../../src/wire/messagepack.ts';
import { useProbe } from './probe-scene.ts';
import { startResponder } from './responder.ts';

describe('the Prosody hook, asking', () => {
  const { startServer, startClient, closeAfterwards } = useProbe();

  const stanza = { hook: 'send', from: 'a@b/c', to: 'd@e', kind: 'message', stanza: '<message/>' };

  async function startAsking() {
    const server = await startServer();
    const responder = await startResponder(server.url);
    closeAfterwards(() => responder.stop());
    const client = await startClient(server.url);
    await client.connected();
    const question = { operation: 'stanza-check', request: stanza, budget_ms: 10_000 };
    return {
      server,
      responder,
      ask: (more = {}) => client.run('ask', { ...question, ...more }),
      ...client,
      question,
    };
  }

  it.each(['messagepack', 'json'])('is answered in %s', async (encoding) => {
    const server = await startServer();
    const worker = await connect({ servers: server.url });
    closeAfterwards(() => worker.close());
    const asked: Record<string, unknown>[] = [];
    worker.subscribe('xmpp.policy.v1.stanza-check', {
      callback: (_error, message) => {
        const request = encoding === 'json' ? message.json<Record<string, unknown>>() : decodeMessagePack(message.data);
        asked.push(request);
        const reply = {
          v: 1,
          id: request['id'],
          seq: 0,
          age_ms: 0,
          verdict: 'deny',
          error: { text: 'nö' },
          ttl_ms: 5,
        };
        message.respond(encoding === 'json' ? JSON.stringify(reply) : encodeMessagePack(reply));
      },
    });
    await worker.flush();
    const client = await startClient(server.url);
    await client.connected();
    const answer = await client.run('ask', {
      operation: 'stanza-check',
      request: stanza,
      budget_ms: 10_000,
      encoding,
    });
    expect(answer.reply).toMatchObject({ verdict: 'deny', error: { text: 'nö' }, ttl_ms: 5, scope: 'none' });
    expect(asked).toEqual([
      {
        ...stanza,
        v: 1,
        id: expect.stringMatching(/^[0-9a-f]{32}$/),
        server: 'probe',
        budget_ms: expect.any(Number),
        min_seq: 0,
      },
    ]);
  });

  it.each([
    ['rubbish', () => Buffer.from('OK')],
    ['nothing', () => new Uint8Array()],
    ['another id', () => ({ verdict: 'allow', id: 'another' })],
    ['another version', () => ({ verdict: 'allow', v: 2 })],
    ['no verdict', () => ({})],
    ['an unknown verdict', () => ({ verdict: 'perhaps' })],
    ['half a reply', () => encodeMessagePack({ v: 1, verdict: 'allow' }).subarray(0, 5)],
  ])('takes %s for a bad reply', async (_, answer) => {
    const { responder, ask } = await startAsking();
    responder.on('stanza-check', answer);
    expect(await ask()).toMatchObject({ failure: 'bad-reply', stats: { failed: { 'bad-reply': 1 } } });
  });

  it('waits no longer than the budget, and asks once more in the middle of it', async () => {
    const { responder, ask } = await startAsking();
    responder.on('stanza-check', () => undefined);
    expect(await ask({ budget_ms: 2_000 })).toMatchObject({ failure: 'timeout', stats: { hedged: 1, rescued: 0 } });
    expect(responder.asked).toHaveLength(2);
  });

  it('is answered by the second whom it asks, where the first is silent', async () => {
    const { responder, ask } = await startAsking();
    responder.on('stanza-check', () => (responder.asked.length === 1 ? undefined : { verdict: 'drop' }));
    expect(await ask({ budget_ms: 4_000 })).toMatchObject({
      reply: { verdict: 'drop' },
      stats: { asked: 1, answered: 1, hedged: 1, rescued: 1 },
    });
    expect(new Set(responder.asked.map(({ id }) => id)).size).toBe(2);
  });

  it('sends the stanza when the worker wants it', async () => {
    const { responder, ask } = await startAsking();
    responder.on('stanza-check', ({ stanza: sent }) =>
      sent === undefined ? { failure: 'stanza-required', text: '' } : { verdict: 'drop' },
    );
    expect(await ask({ stanza_on_demand: true })).toMatchObject({
      reply: { verdict: 'drop' },
      stats: { retried: 1 },
    });
    expect(responder.asked.map(({ stanza: sent }) => sent)).toEqual([undefined, stanza.stanza]);
  });

  it('asks twice when nobody listens, unless what it asks is an event', async () => {
    const client = await startClient((await startServer()).url);
    await client.connected();
    const question = { operation: 'stanza-check', request: stanza, budget_ms: 10_000 };
    expect(await client.run('ask', question)).toMatchObject({
      failure: 'no-responders',
      stats: { asked: 1, retried: 1 },
    });
    const event = { operation: 'user-removed', request: { user: 'a@b' }, budget_ms: 10_000 };
    expect(await client.run('ask', event)).toMatchObject({ failure: 'no-responders', stats: { asked: 1, retried: 0 } });
  });

  it('fails at once when the broker goes while it waits', async () => {
    const { responder, server, ask } = await startAsking();
    responder.on('stanza-check', () => undefined);
    const answer = ask({ budget_ms: 600_000 });
    await responder.untilAsked('stanza-check');
    await server.kill();
    expect(await answer).toMatchObject({ failure: 'disconnected' });
  });

  it('says so where it cannot wait', async () => {
    const { run, question } = await startAsking();
    expect(await run('ask_from_timer', question)).toEqual({ failure: 'not-async' });
  });
});
