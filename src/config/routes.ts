/** The short forms of an operation's sources, and the whole maps that they stand for. */

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `sources: NAME` and `sources: {source: NAME, …}` are for every domain. */
export function wholeRoutes(value: unknown): unknown {
  return typeof value === 'string' || (isMap(value) && 'source' in value) ? { '*': value } : value;
}

/** `DOMAIN: NAME` has nothing of its own. */
export function wholeRoute(value: unknown): unknown {
  return typeof value === 'string' ? { source: value } : value;
}
