/**
 * Health as named components: ready is when all of them are. Each is asked at the moment at which somebody wants to know.
 *
 * - `running`: not told to stop yet;
 * - `configuration`: read, and every source made from it;
 * - `nats`: the connection to the broker stands;
 * - `subscribed`: a member of the queue group, which a worker whose event loop lags is not for a while;
 * - `freshness`: what is remembered is proved fresh, or there is no JetStream that could prove it;
 * - `self_test`: a request to itself through the broker was answered.
 */
export const components = ['running', 'configuration', 'nats', 'subscribed', 'freshness', 'self_test'] as const;

export type Component = (typeof components)[number];

export interface HealthReport {
  readonly ready: boolean;
  readonly components: Readonly<Record<Component, boolean>>;
}

export class Health {
  readonly #components: Readonly<Record<Component, () => boolean | Promise<boolean>>>;

  constructor(checks: Readonly<Record<Component, () => boolean | Promise<boolean>>>) {
    this.#components = checks;
  }

  async report(): Promise<HealthReport> {
    const states = await Promise.all(components.map(async (name) => [name, await this.#components[name]()] as const));
    return {
      ready: states.every(([, isUp]) => isUp),
      components: Object.fromEntries(states) as Record<Component, boolean>,
    };
  }
}
