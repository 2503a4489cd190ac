/** How a connection says who it is. Knows the files that hold keys, and nothing of what the connection is for. */
import { readFileSync } from 'node:fs';
import { credsAuthenticator, nkeyAuthenticator, nkeys } from 'nats';
import type { Authenticator, ConnectionOptions } from 'nats';
import type { Config } from '../config/schema.ts';

/** A file that is to say who we are does not. The message names it and what would be right, never what stands in it. */
export class LoginUnusable extends Error {
  override readonly name = 'LoginUnusable';
}

/**
 * The options for nats.js. Files are read now and again at each connection, so that a key which was replaced is used
 * from the next one on; while what they hold is unusable, what they held before is used.
 * @throws LoginUnusable
 */
export function loginOptions({ user, password, token, nkey_file, creds_file }: Config['nats']): ConnectionOptions {
  if (nkey_file !== undefined) {
    const read = keptReading(() => readSeed(nkey_file));
    return { authenticator: nkeyAuthenticator(read) };
  }
  if (creds_file !== undefined) {
    const read = keptReading(() => readCredentials(creds_file));
    return { authenticator: (nonce) => read()(nonce) };
  }
  return {
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { pass: password }),
    ...(token === undefined ? {} : { token }),
  };
}

function keptReading<T>(read: () => T): () => T {
  let last = read();
  return () => {
    try {
      last = read();
    } catch (error) {
      if (!(error instanceof LoginUnusable)) throw error;
    }
    return last;
  };
}

function readSeed(file: string): Uint8Array {
  const seed = new TextEncoder().encode(textOf('nkey_file', file).trim());
  try {
    if (nkeys.fromSeed(seed).getPublicKey().startsWith('U')) return seed;
  } catch {
    // What it says is about the base32 of a secret.
  }
  throw new LoginUnusable(`nats.nkey_file: ${file} is not the seed of a user's nkey, one line that begins with SU`);
}

function readCredentials(file: string): Authenticator {
  const authenticate = credsAuthenticator(new TextEncoder().encode(textOf('creds_file', file)));
  try {
    authenticate('nonce');
    return authenticate;
  } catch {
    throw new LoginUnusable(
      `nats.creds_file: ${file} is not a file of NATS credentials, a JWT and a seed between lines of dashes`,
    );
  }
}

function textOf(key: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'this user may not read it' : error;
    throw new LoginUnusable(`nats.${key}: ${file}: ${String(why)}`);
  }
}
