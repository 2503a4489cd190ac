/**
 * Which sequence each user, room, domain and operation was last invalidated at. Constant time to set, constant time to
 * ask, whatever the cache holds; no entry is ever looked for.
 */
import type { Change } from '../changes.ts';
import type { Operation } from '../wire/operation.ts';

/** What a decision falls under: an invalidation of any of these ends it. */
export interface Subject {
  readonly operation: Operation;
  /** Bare JIDs on either side, the user's and the room's included. */
  readonly jids: readonly string[];
  readonly domains: readonly string[];
}

/**
 * The table is bounded: when it is full, `all` is raised to the newest stamp and the table emptied, which forgets more
 * than was asked and never less.
 */
export class Stamps {
  readonly #maxStamps: number;
  readonly #jids = new Map<string, number>();
  readonly #domains = new Map<string, number>();
  readonly #operations = new Map<Operation, number>();
  #all = 0;
  #newest = 0;

  constructor(maxStamps: number) {
    this.#maxStamps = maxStamps;
  }

  /** The highest stamp of any kind: what has at least this floor needs no further look. */
  get newest(): number {
    return this.#newest;
  }

  set(change: Change, sequence: number): void {
    this.#newest = Math.max(this.#newest, sequence);
    if ('all' in change) this.#raiseAll(sequence);
    else if ('operation' in change) raise(this.#operations, change.operation, sequence);
    else if ('domain' in change) raise(this.#domains, change.domain, sequence);
    else raise(this.#jids, 'user' in change ? change.user : change.room, sequence);
    if (this.#jids.size + this.#domains.size > this.#maxStamps) this.#raiseAll(this.#newest);
  }

  /** Whether what is good for `floor` is still good for this subject. */
  allow(floor: number, subject: Subject): boolean {
    if (floor >= this.#newest) return true;
    if (floor < this.#all || floor < (this.#operations.get(subject.operation) ?? 0)) return false;
    return (
      subject.jids.every((jid) => floor >= (this.#jids.get(jid) ?? 0)) &&
      subject.domains.every((domain) => floor >= (this.#domains.get(domain) ?? 0))
    );
  }

  /** Everything at or below `all` says nothing any more. */
  #raiseAll(sequence: number): void {
    this.#all = Math.max(this.#all, sequence);
    for (const table of [this.#jids, this.#domains]) {
      if (this.#all >= this.#newest) table.clear();
    }
  }
}

function raise<K>(table: Map<K, number>, key: K, sequence: number): void {
  table.set(key, Math.max(table.get(key) ?? 0, sequence));
}
