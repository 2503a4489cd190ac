/**
 * Asks stanza checks as the hooks do: within a budget by the monotonic clock, once more when nobody listens, once more when
 * half of the budget has passed in silence (and in vain no more often than one question in four); then the fallback.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, ErrorCode } from 'nats';
import type { NatsConnection } from 'nats';
import { decodeMessagePack, encodeMessagePack } from '../../src/wire/messagepack.ts';

export interface Outcome {
  /** A verdict, or why there is none. */
  readonly word: string;
  /** A configured fallback of a worker and no real decision. */
  readonly isDegraded: boolean;
  readonly tookMs: number;
  /** Asked a second time because of silence. */
  readonly isHedged: boolean;
}

export interface HookAsker {
  ask(from: string, to: string): Promise<Outcome>;
  /** What has been asked and is not answered yet. */
  readonly pending: number;
  stop(): Promise<void>;
}

export interface HookAskerOptions {
  readonly budgetMs?: number;
  readonly doesHedge?: boolean;
}

const noRespondersPauseMs = 50;
const sparedHedges = 20;
const hedgesEarned = 0.25;
const verdicts = new Set(['allow', 'deny', 'drop', 'modify', 'defer']);

/** @throws what nats.js throws when there is no broker */
export async function startHookAsker(natsUrl: string, options: HookAskerOptions = {}): Promise<HookAsker> {
  const { budgetMs = 250, doesHedge = true } = options;
  const nats = await connect({ servers: natsUrl, maxReconnectAttempts: -1, inboxPrefix: '_INBOX.hook' });
  let pending = 0;
  let hedges = sparedHedges;

  async function ask(from: string, to: string): Promise<Outcome> {
    hedges = Math.min(sparedHedges, hedges + hedgesEarned);
    const beganMs = performance.now();
    const deadlineMs = beganMs + budgetMs;
    const asked = { isDone: false, isAgain: false, isHedged: false };
    const first = sendPatiently(nats, { from, to }, deadlineMs, asked);
    const second = doesHedge ? hedge(first) : first;
    pending += 1;
    try {
      const reply = await Promise.any([first, second]);
      return outcome(String(reply['verdict']), reply['degraded'] !== undefined);
    } catch (error) {
      const [reason] = error instanceof AggregateError ? error.errors : [error];
      return outcome(reason instanceof Error ? reason.message : String(reason), false);
    } finally {
      asked.isDone = true;
      pending -= 1;
    }

    async function hedge(rival: Promise<Record<string, unknown>>): Promise<Record<string, unknown>> {
      const answered = rival.then(
        () => false,
        () => false,
      );
      const isSilent = await Promise.race([delay(budgetMs / 2).then(() => true), answered]);
      if (!isSilent || asked.isAgain || hedges < 1) return rival;
      hedges -= 1;
      asked.isAgain = true;
      asked.isHedged = true;
      const reply = await send(nats, { from, to }, deadlineMs);
      if (!asked.isDone) hedges += 1;
      return reply;
    }

    function outcome(word: string, isDegraded: boolean): Outcome {
      const tookMs = performance.now() - beganMs;
      return { word: tookMs > budgetMs ? 'timeout' : word, isDegraded, tookMs, isHedged: asked.isHedged };
    }
  }

  return {
    ask,
    get pending() {
      return pending;
    },
    stop: () => nats.close(),
  };
}

type Pair = { readonly from: string; readonly to: string };

/** A worker may just be replaced. */
async function sendPatiently(nats: NatsConnection, pair: Pair, deadlineMs: number, asked: { isAgain: boolean }) {
  try {
    return await send(nats, pair, deadlineMs);
  } catch (error) {
    const mayRepeat = !asked.isAgain && performance.now() + noRespondersPauseMs < deadlineMs;
    if (!mayRepeat || !(error instanceof Error) || error.message !== 'no-responders') throw error;
    asked.isAgain = true;
    await delay(noRespondersPauseMs);
    return send(nats, pair, deadlineMs);
  }
}

/** @throws Error whose message is the failure's word */
async function send(nats: NatsConnection, pair: Pair, deadlineMs: number): Promise<Record<string, unknown>> {
  const id = randomBytes(12).toString('hex');
  const leftMs = Math.floor(deadlineMs - performance.now());
  if (leftMs < 1) throw new Error('timeout');
  const question = { v: 1, id, server: 'hook', budget_ms: leftMs, min_seq: 0, hook: 'send', kind: 'message', ...pair };
  const payload = encodeMessagePack({ ...question, type: 'chat', stanza: '<message/>' });
  const { data } = await nats
    .request('xmpp.policy.v1.stanza-check', payload, { timeout: leftMs })
    .catch((error: unknown) => {
      throw new Error(wordOf(error));
    });
  const reply = decodeMessagePack(data);
  if (reply['v'] !== 1 || (reply['id'] !== id && reply['failure'] === undefined)) throw new Error('bad-reply');
  const failure = reply['failure'];
  if (failure !== undefined) throw new Error(typeof failure === 'string' ? failure : 'bad-reply');
  if (!verdicts.has(String(reply['verdict']))) throw new Error('bad-reply');
  return reply;
}

function wordOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === ErrorCode.NoResponders) return 'no-responders';
  return code === ErrorCode.Timeout ? 'timeout' : 'disconnected';
}
