/** A source whose answers a test lets go one by one, in whatever order it likes. */
import type { Answer, Question, RosterAnswer, RosterChange, Source } from '../src/sources/source.ts';
import type { Jid } from '../src/wire/jid.ts';
import type { Decision } from '../src/wire/replies.ts';

interface Asked<Q, A> {
  readonly question: Q;
  readonly answer: (answer: A) => void;
  readonly fail: (error: Error) => void;
}

export class HeldSource implements Source {
  readonly name = 'held';
  readonly type = 'held';
  lagMs = 0;
  readonly asked: Asked<Question, Answer>[] = [];
  readonly askedRosters: Asked<Jid, RosterAnswer>[] = [];
  readonly told: Asked<RosterChange, Decision>[] = [];
  #waiting: (() => void)[] = [];

  identity(question: Question): string {
    const { request } = question;
    return 'from' in request ? `${request.from.bare} ${request.to.bare}` : request.user.bare;
  }

  decide(question: Question): Promise<Answer> {
    return new Promise((answer, fail) => {
      this.asked.push({ question, answer, fail });
      this.#wake();
    });
  }

  roster(question: Jid): Promise<RosterAnswer> {
    return new Promise((answer, fail) => {
      this.askedRosters.push({ question, answer, fail });
      this.#wake();
    });
  }

  rosterChange(question: RosterChange): Promise<Decision> {
    return new Promise((answer, fail) => {
      this.told.push({ question, answer, fail });
      this.#wake();
    });
  }

  /** Resolves once so many questions have been asked in all. */
  async untilAsked(count: number): Promise<void> {
    while (this.asked.length + this.askedRosters.length + this.told.length < count) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async stop(): Promise<void> {}

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
