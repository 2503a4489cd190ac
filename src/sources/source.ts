/**
 * What a source is: where the truth about an operation lives. One small interface for every type; the conformance
 * suite in `test/sources/conformance.ts` says the same in tests. A source knows nothing of NATS, of the cache or of
 * deadlines other than the signal it is given.
 *
 * Whatever goes wrong (refused, slow, a status outside 2xx, a body that does not parse, a field of the wrong type) is a
 * `SourceUnavailable`, never a verdict.
 */
import type { Logger } from 'pino';
import type { Change } from '../changes.ts';
import type { Clock } from '../clock.ts';
import type { LatencyHistogram } from '../observe/histogram.ts';
import type { Jid } from '../wire/jid.ts';
import type { Decision, Roster, Scope } from '../wire/replies.ts';
import type { JoinCheck, RosterSet, RosterSubscription, SessionCheck, StanzaCheck } from '../wire/requests.ts';

/** The question of one of the three checks, with its operation as the tag. */
export type Question =
  | { operation: 'stanza-check'; request: StanzaCheck }
  | { operation: 'join-check'; request: JoinCheck }
  | { operation: 'session-check'; request: SessionCheck };

/** What is to be changed in a roster, with its operation as the tag. */
export type RosterChange =
  { operation: 'roster-set'; request: RosterSet } | { operation: 'roster-subscription'; request: RosterSubscription };

/** What a lookup hands down to the wire of the source. */
export interface Call {
  /** Aborted when nobody waits any longer, or at shutdown. */
  readonly signal: AbortSignal;
  /**
   * Until when somebody waits for the answer, on the monotonic clock in milliseconds: a call that has to wait for its
   * place is not begun when it could not be answered by then. It may grow, when others join who wait longer. Absent: the
   * answer is of use whenever it comes.
   */
  readonly waitedForUntilMs?: () => number;
  /** W3C trace context to pass on, if the asker sent one. */
  readonly traceparent?: string | undefined;
}

/** A decision and how far it carries. */
export interface Answer {
  readonly decision: Decision;
  /**
   * What the decision depended on. `exact` is for sources whose questions hold more than a near cache may key by (a
   * nick, a resource): the worker remembers it under the source's own `identity`, hooks are told `none`.
   */
  readonly scope: Scope | 'exact';
  /** Milliseconds; absent: the operation's configured TTL. 0: do not remember. */
  readonly ttlMs?: number | undefined;
  /** The decision for the same pair in the other direction, where one lookup answers both. */
  readonly reverse?: Decision | undefined;
}

/** Why a contact was left out of a roster, for the log: the rest of the roster is kept. */
export interface RosterProblem {
  readonly jid: string;
  readonly problem: string;
}

export interface RosterAnswer {
  readonly items: Roster['items'];
  readonly pending: Roster['pending'];
  readonly problems: readonly RosterProblem[];
}

export interface Source {
  /** Its name in the configuration. */
  readonly name: string;
  /** Its type in the configuration, and the metric label. */
  readonly type: string;

  /**
   * How long its answers may still be the old ones after a change, in milliseconds, because it reads from replicas.
   * Absent: not at all.
   */
  readonly lagMs?: number;

  /** How many calls at once it takes before others wait. Absent: it does not say. */
  readonly maxConcurrent?: number;

  /** Its answer is always the same and is kept nowhere: nothing changes by it that others would have to hear of. */
  readonly isConstant?: true;

  /** Why this question is none for this source and passes unasked; undefined when it has to be asked. */
  unchecked?(question: Question): string | undefined;

  /** Whether the answer can only be given with the stanza at hand. */
  needsStanza?(question: Question): boolean;

  /** What a lookup would ask: equal identities get equal answers, so that one lookup serves all who wait for it. */
  identity?(question: Question): string;

  /** Asks. Rejects with `SourceUnavailable`. */
  decide?(question: Question, call: Call): Promise<Answer>;

  /** The roster of a bare JID. Rejects with `SourceUnavailable`; an unknown user has an empty roster. */
  roster?(user: Jid, call: Call): Promise<RosterAnswer>;

  /**
   * Tells the source what a client or a contact wants to change in a roster; its answer decides. Told once:
   * `request.id` is the idempotency key. Rejects with `SourceUnavailable`.
   */
  rosterChange?(change: RosterChange, call: Call): Promise<Decision>;

  /**
   * True while news of changes may be missed: nothing that it has answered is remembered then, nor served from memory.
   * Absent: never.
   */
  isDeaf?(): boolean;

  /** Tells the source that an account is gone. `id` is the idempotency key. Rejects with `SourceUnavailable`. */
  userRemoved?(user: Jid, id: string, call: Call): Promise<void>;

  /**
   * Somebody says that something has changed. What a source keeps in memory of its own has to be read again before its
   * next answer: the news may be about just that, and be here before the source has noticed by itself.
   */
  readAgain?(): void;

  /** Releases connections, watchers and timers. */
  stop(): Promise<void>;
}

/** How a source's calls stand at this moment. For the metrics. */
export interface CallsReading {
  readonly breaker: 'closed' | 'half-open' | 'open';
  readonly inFlight: number;
  /** Calls that wait for a place. */
  readonly queued: number;
  readonly maxInFlight: number;
  /** How long calls waited for their place, those that did not have to included. */
  readonly waited: LatencyHistogram;
}

/** What every source is given when it is made. */
export interface SourceContext {
  readonly name: string;
  readonly log: Logger;
  readonly clock: Clock;
  /** The staleness bound in milliseconds: nothing is served that could not be proved up to date for this long. */
  readonly boundMs: number;
  /** The host of users whom somebody names without one; undefined: that names nobody. */
  readonly defaultHost: string | undefined;
  /**
   * To be called after the source itself answers by the new truth, so that nobody asks too early. What this process
   * remembers is dropped before it returns; it resolves when everybody else can know, and never rejects.
   */
  readonly changed: (change: Change, reason: string) => Promise<void>;
  /** One call has ended. For the metrics. */
  readonly observe: (outcome: SourceOutcome | 'ok', seconds: number) => void;
  /** Its calls can be looked at from now on. For the metrics. */
  readonly expose: (read: () => CallsReading) => void;
}

/** What happened to a call, for metrics and log; a closed set. */
export type SourceOutcome =
  | 'timeout'
  | 'unreachable'
  | 'bad-status'
  | 'bad-answer'
  | 'breaker-open'
  | 'bulkhead-full'
  /** Nobody waited for the answer any longer: says nothing about the source. */
  | 'abandoned';

/** A source did not answer, or not with something that could be trusted. `message` is for the log. */
export class SourceUnavailable extends Error {
  override readonly name = 'SourceUnavailable';
  readonly outcome: SourceOutcome;

  constructor(outcome: SourceOutcome, detail: string, options?: ErrorOptions) {
    super(detail, options);
    this.outcome = outcome;
  }
}
