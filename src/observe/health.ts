/** Health as named components: ready is when all of them are. */
export type Component = 'nats' | 'subscribed' | 'running';

export class Health {
  readonly #components: Record<Component, () => boolean>;

  constructor(components: Record<Component, () => boolean>) {
    this.#components = components;
  }

  report(): { ready: boolean; components: Record<string, boolean> } {
    const components = Object.fromEntries(Object.entries(this.#components).map(([name, isUp]) => [name, isUp()]));
    return { ready: Object.values(components).every(Boolean), components };
  }
}
