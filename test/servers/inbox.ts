/** What came to an XMPP entity of a test and was not taken yet; every wait for more has an end. Knows no connection. */
import type { Element } from '@xmpp/client';

/** Against hangs only: a busy machine takes its time. */
const waitMs = 30_000;

export class Inbox {
  /** In the order in which it came. */
  readonly elements: Element[] = [];
  readonly #owner: () => string;
  readonly #watchers = new Set<() => void>();

  /** `owner` names whose it is when something does not come. */
  constructor(owner: () => string) {
    this.#owner = owner;
  }

  receive(element: Element): void {
    this.elements.push(element);
    for (const watcher of this.#watchers) watcher();
  }

  /** Takes the first that matches, waiting for it if need be. Throws with what came instead. */
  take(what: string, matches: (element: Element) => boolean): Promise<Element> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const index = this.elements.findIndex(matches);
        const [taken] = index === -1 ? [] : this.elements.splice(index, 1);
        if (taken === undefined) return;
        stop();
        resolve(taken);
      };
      const timer = setTimeout(() => {
        stop();
        const came = this.elements.map(String).join('\n');
        reject(new Error(`${this.#owner()} did not get ${what} within ${waitMs} ms; it got:\n${came}`));
      }, waitMs);
      const stop = (): void => {
        clearTimeout(timer);
        this.#watchers.delete(look);
      };
      this.#watchers.add(look);
      look();
    });
  }
}
