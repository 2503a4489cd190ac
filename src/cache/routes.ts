/** Which source answers for which domain: the configuration's routes, with the sources in place of their names. */
import type { Config, Fallback } from '../config/schema.ts';
import type { Answer, Source } from '../sources/source.ts';
import type { Operation } from '../wire/operation.ts';
import type { Verdict } from '../wire/replies.ts';

/** One operation of one domain. */
export interface Route {
  readonly operation: Operation;
  readonly source: Source;
  readonly ttlMs: number;
  readonly fallback: Fallback;
  /** How long after the staleness bound what is remembered is served all the same, as degraded. */
  readonly unprovedMs: number;
  /** The scopes that this source has answered with: what a hit is looked for under. */
  readonly scopesSeen: Answer['scope'][];
  /** Plain numbers, read when the metrics are scraped. */
  readonly counts: RouteCounts;
}

export interface RouteCounts {
  readonly decided: Record<Verdict, number>;
  readonly degraded: Record<Verdict, number>;
  /** How many of both were remembered. */
  remembered: number;
}

const zero = (): Record<Verdict, number> => ({ allow: 0, deny: 0, drop: 0, modify: 0, defer: 0 });

/** What any operation may be told; each has only some of it. */
interface Tunable {
  readonly ttl_ms?: number | undefined;
  readonly fallback?: Fallback | undefined;
}

interface Settings extends Tunable {
  readonly unproved_ms?: number;
  readonly sources: Readonly<Record<string, Tunable & { readonly source: string }>>;
}

export class Routes {
  readonly #routes = new Map<Operation, Map<string, Route>>();

  constructor(config: Config['operations'], sources: ReadonlyMap<string, Source>) {
    for (const [operation, settings] of Object.entries(config) as [Operation, Settings][]) {
      const byDomain = new Map<string, Route>();
      for (const [domain, route] of Object.entries(settings.sources)) {
        const source = sources.get(route.source);
        if (source === undefined) throw new Error(`no source is named ${route.source}`);
        byDomain.set(domain, {
          operation,
          source,
          ttlMs: route.ttl_ms ?? settings.ttl_ms ?? 0,
          fallback: route.fallback ?? settings.fallback ?? 'fail',
          unprovedMs: settings.unproved_ms ?? 0,
          scopesSeen: [],
          counts: { decided: zero(), degraded: zero(), remembered: 0 },
        });
      }
      this.#routes.set(operation, byDomain);
    }
  }

  /** The route of a domain, or the default's; undefined where none is configured. */
  of(operation: Operation, domain: string): Route | undefined {
    const byDomain = this.#routes.get(operation);
    return byDomain?.get(domain) ?? byDomain?.get('*');
  }

  *all(): Iterable<Route> {
    for (const byDomain of this.#routes.values()) yield* byDomain.values();
  }

  /** Operations without any source. */
  unrouted(): Operation[] {
    return [...this.#routes].filter(([, byDomain]) => byDomain.size === 0).map(([operation]) => operation);
  }
}
