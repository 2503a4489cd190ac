/** NATS addresses, and the credentials that people write into them. */
import { z } from 'zod';

const wanted = 'must be a URL such as nats://127.0.0.1:4222, or a list of them';

/** One address, a list of them, or several in one text with commas, as NATS's own tools take them. */
export const natsUrls = z
  .preprocess(
    (value) => (typeof value === 'string' ? value.split(',').map((url) => url.trim()) : value),
    z.array(z.string(wanted), wanted).min(1, wanted),
  )
  .check((context) => {
    for (const [index, url] of context.value.entries()) {
      const problem = problemOf(url);
      if (problem === undefined) continue;
      const path = context.value.length === 1 ? [] : [index];
      context.issues.push({ code: 'custom', message: problem, path, input: url });
    }
  });

function problemOf(url: string): string | undefined {
  // The host's own text is not repeated where it may hold a password.
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase();
  if (scheme !== undefined && scheme !== 'nats' && scheme !== 'tls')
    return `${wanted}; the scheme is nats or tls, not ${scheme}`;
  const parsed = parse(url);
  if (parsed === undefined || parsed.hostname === '') return wanted;
  if (!/^\/?$/.test(parsed.pathname) || parsed.search !== '' || parsed.hash !== '')
    return `${wanted}; nothing goes after the port`;
  return undefined;
}

function parse(url: string): URL | undefined {
  const address = url.replace(/^[a-z]+:\/\//i, '');
  return URL.canParse(`nats://${address}`) ? new URL(`nats://${address}`) : undefined;
}

export interface Credentials {
  user?: string | undefined;
  password?: string | undefined;
  token?: string | undefined;
}

/**
 * The addresses without what stands before their `@`, and that as credentials: `user:password@`, or `token@`. The
 * client library would ignore it there. The first address that has some speaks for all.
 */
export function splitCredentials(urls: readonly string[]): { urls: string[]; credentials: Credentials } {
  let credentials: Credentials = {};
  const bare = urls.map((url) => {
    const match = /^((?:[a-z]+:\/\/)?)(.*)@([^@]*)$/i.exec(url);
    if (match === null) return url;
    const parsed = parse(url);
    if (parsed !== undefined && Object.keys(credentials).length === 0) {
      const user = decodeURIComponent(parsed.username);
      const password = decodeURIComponent(parsed.password);
      credentials = password === '' ? { token: user } : { user, password };
    }
    return `${match[1] ?? ''}${match[3] ?? ''}`;
  });
  return { urls: bare, credentials };
}
