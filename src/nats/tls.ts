/** When a connection to the broker is encrypted, and whose certificate it takes. Knows nothing of what is sent. */
import { checkServerIdentity } from 'node:tls';
import type { PeerCertificate } from 'node:tls';
import type { TlsOptions } from 'nats';
import type { Config } from '../config/schema.ts';

/**
 * The options for nats.js, which takes no notice of a URL's scheme: without options it stays in clear with whoever
 * offers nothing else. Undefined when encryption was not asked for; with one `tls://` it is for all servers of the list.
 */
export function tlsOptions({ url, tls }: Config['nats']): TlsOptions | undefined {
  if (tls === undefined && !url.some((one) => /^tls:/i.test(one))) return undefined;
  const hosts = url.map(hostOf);
  const options = {
    ...(tls?.ca_file === undefined ? {} : { caFile: tls.ca_file }),
    ...(tls?.cert_file === undefined ? {} : { certFile: tls.cert_file }),
    ...(tls?.key_file === undefined ? {} : { keyFile: tls.key_file }),
    // Handed on to Node. nats.js names no host when the server is an IP address, and Node then takes localhost for it.
    checkServerIdentity: (name: string, certificate: PeerCertificate) => {
      const wanted = name === 'localhost' ? hosts : [name, ...hosts];
      const problems = wanted.map((host) => checkServerIdentity(host, certificate));
      return problems.includes(undefined) ? undefined : problems[0];
    },
  };
  return options;
}

/** Without the brackets of an IPv6 address. */
function hostOf(url: string): string {
  return new URL(`nats://${url.replace(/^[a-z]+:\/\//i, '')}`).hostname.replace(/^\[(.*)\]$/, '$1');
}
