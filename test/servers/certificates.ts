/** Certificates of authorities of our own, made by openssl for the tests of one file. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificates {
  /** The path of a file of theirs, which are all in one folder. */
  file(name: string): string;
  /** Makes NAME.pem and NAME.key, which can sign. */
  authority(name: string): void;
  /** Makes NAME.pem and NAME.key, signed by an authority, for these subject alternative names. */
  certificate(ca: string, name: string, names: string): void;
  remove(): void;
}

export function useCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-tls-'));
  const file = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  return {
    file,
    authority: (name) => {
      const keys = ['-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.pem`];
      openssl('req', '-x509', ...keys, '-subj', `/CN=${name}`, '-days', '2');
    },
    certificate: (ca, name, names) => {
      writeFileSync(file(`${name}.ext`), `subjectAltName = ${names}\n`);
      const request = ['-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/O=${name}`];
      openssl('req', '-newkey', 'rsa:2048', '-nodes', ...request);
      const signing = ['-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial', '-days', '2'];
      openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, '-extfile', `${name}.ext`, ...signing);
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}
