/**
 * The application that owns the relationships, over HTTP: it hands out rosters by user, is told of changes, and can be
 * slow, answer out of order, or be down. It counts what it is asked and how much of it at once. Knows nothing of Warder.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';

export interface Contact {
  readonly name?: string;
  /** Absent: both, as with mod_http_roster_admin. */
  readonly subscription?: 'none' | 'from' | 'to' | 'both';
  readonly ask?: 'subscribe';
  readonly groups?: readonly string[];
}

/** A body that was posted to it: the operation and its fields. */
export type Told = Readonly<Record<string, unknown>>;

export type Roster = Readonly<Record<string, Contact>>;

export class RosterApplication {
  /** How often each user's roster was asked for, since `forget`. */
  readonly asked = new Map<string, number>();
  /** What was posted to it, in order, since `forget`. */
  readonly told: Told[] = [];
  /** How many requests for rosters were under way at once at most, since `forget`. */
  highestConcurrency = 0;
  /** How long each roster takes to be answered. */
  answerMs = 0;
  /** Every request is refused with this status; 0: none is. */
  failsWith = 0;
  /** The answer to what is posted, when it is posted. */
  decide: (told: Told) => unknown = () => ({ verdict: 'allow' });
  readonly #rosters = new Map<string, Map<string, Contact>>();
  readonly #watchers = new Set<() => void>();
  readonly #server: Server;
  #isHeld: (user: string, roster: Roster) => boolean = () => false;
  readonly #held: { readonly user: string; answer(): void }[] = [];
  #underWay = 0;

  static async start(): Promise<RosterApplication> {
    const application = new RosterApplication();
    await new Promise<void>((resolve) => application.#server.listen(0, '127.0.0.1', resolve));
    return application;
  }

  private constructor() {
    this.#server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8');
      request.on('data', (chunk: string) => (body += chunk));
      request.on('end', () => this.#serve(request, response, body));
    });
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  }

  /** All requests for rosters since `forget`. */
  get requests(): number {
    return [...this.asked.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Puts a contact into a user's roster, in place of what it was. Nobody is told. */
  put(user: string, contact: string, item: Contact = {}): void {
    const roster = this.#rosters.get(user) ?? new Map<string, Contact>();
    roster.set(contact, item);
    this.#rosters.set(user, roster);
  }

  drop(user: string, contact: string): void {
    this.#rosters.get(user)?.delete(contact);
  }

  rosterOf(user: string): Roster {
    return Object.fromEntries(this.#rosters.get(user) ?? []);
  }

  /** Both have each other. */
  befriend(one: string, other: string, item: Contact = {}): void {
    this.put(one, other, item);
    this.put(other, one, item);
  }

  /** Neither has the other any longer. */
  part(one: string, other: string): void {
    this.drop(one, other);
    this.drop(other, one);
  }

  /** Forgets what it was asked and told, not the rosters. */
  forget(): void {
    this.asked.clear();
    this.told.length = 0;
    this.highestConcurrency = this.#underWay;
  }

  /** From now on the requests that match wait for `letGo`. What they will be answered is what the roster is when they come. */
  hold(matches: (user: string, roster: Roster) => boolean = () => true): void {
    this.#isHeld = matches;
  }

  /** Resolves when a request for this user's roster is held. */
  untilHeld(user: string): Promise<void> {
    return this.until(() => this.#held.some((held) => held.user === user));
  }

  /** Answers what is held, and holds nothing any longer. */
  letGo(): void {
    this.#isHeld = () => false;
    for (const { answer } of this.#held.splice(0)) answer();
  }

  /** Resolves when the condition holds after something was asked, answered or told. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #serve(request: IncomingMessage, response: ServerResponse, body: string): void {
    const send = (value: unknown): void => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(value));
    };
    const refuse = (): void => void response.writeHead(this.failsWith).end();
    if (request.method === 'POST') {
      const told = JSON.parse(body) as Told;
      this.told.push(told);
      this.#look();
      return this.failsWith === 0 ? send(this.decide(told)) : refuse();
    }
    const user = decodeURIComponent((request.url ?? '').split('/').at(-1) ?? '');
    const roster = this.rosterOf(user);
    this.asked.set(user, (this.asked.get(user) ?? 0) + 1);
    this.#underWay += 1;
    this.highestConcurrency = Math.max(this.highestConcurrency, this.#underWay);
    // Also what nobody waits for any longer has ended.
    response.once('close', () => {
      this.#underWay -= 1;
      this.#look();
    });
    const answer = (): void => (this.failsWith === 0 ? send(roster) : refuse());
    if (this.#isHeld(user, roster)) this.#held.push({ user, answer });
    else if (this.answerMs > 0) setTimeout(answer, this.answerMs);
    else answer();
    this.#look();
  }

  #look(): void {
    for (const watcher of this.#watchers) watcher();
  }
}
