/**
 * The certificate of the HTTP port: read at the start, and again when its files change, so that nobody has to restart a
 * worker when it is renewed. Connections that stand keep the one that they began with.
 */
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { Server } from 'node:https';
import type { Logger } from 'pino';
import { FileWatch } from '../sources/file-watch.ts';

export interface CertificateFiles {
  readonly cert_file: string;
  readonly key_file: string;
}

export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Certificates are renewed weeks before their end. */
const pollMs = 10_000;

/**
 * Reads both.
 * @throws Error that names the files when they cannot be read or do not belong together
 */
export async function readCertificate({ cert_file, key_file }: CertificateFiles): Promise<Certificate> {
  try {
    const [cert, key] = await Promise.all([readFile(cert_file), readFile(key_file)]);
    createSecureContext({ cert, key });
    return { cert, key };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new Error(`http.tls: ${cert_file} and ${key_file} are no certificate with its key: ${detail}`, {
      cause: error,
    });
  }
}

/**
 * Gives the server what the files hold whenever that is not what it has, until stopped; while it is unusable, the server
 * keeps what it has.
 */
export async function followCertificate(
  server: Pick<Server, 'setSecureContext'>,
  files: CertificateFiles,
  present: Certificate,
  log: Logger,
): Promise<{ stop(): Promise<void> }> {
  let last = present;
  const maybeChanged = async (): Promise<void> => {
    try {
      const next = await readCertificate(files);
      if (next.cert.equals(last.cert) && next.key.equals(last.key)) return;
      server.setSecureContext(next);
      last = next;
      log.info({ file: files.cert_file }, 'http: certificate replaced');
    } catch (error) {
      // Also what is half written: the other file's change is another look.
      log.warn({ detail: String(error) }, 'http: certificate not replaced, the last one stays');
    }
  };
  const watches = [files.cert_file, files.key_file].map((file) => new FileWatch(file, { pollMs, log, maybeChanged }));
  await Promise.all(watches.map((watch) => watch.start(maybeChanged)));
  return { stop: async () => void (await Promise.all(watches.map((watch) => watch.stop()))) };
}
