// Makes what nats-server.conf needs, in the present folder: certificates (by openssl), nkeys, and passwords with their
// bcrypt hashes (by the system's crypt, through perl). Overwrites nothing, and prints nothing that is secret.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { nkeys } from 'nats';

const usage = `usage, each in the folder where the files shall be:
  keys.mjs authority                      ca.pem and ca.key, which signs the others; keep ca.key to yourself
  keys.mjs certificate NAME [HOST…]       NAME.pem and NAME.key, for these host names and addresses (default: NAME)
  keys.mjs nkey NAME                      NAME.nk, the secret, for nats.nkey_file; prints what the broker is told
  keys.mjs password NAME                  NAME.password, the secret; prints the hash that the broker is told
`;

class KeysProblem extends Error {}

/** Five years. Nothing warns of the end: write it down with the keys. */
const days = '1825';
/** 2^11 rounds, a tenth of a second for each login, as NATS's own tools have it. */
const rounds = '11';

/** @param {string} file @param {string} content */
function writeSecret(file, content) {
  writeFileSync(file, content, { mode: 0o600, flag: 'wx' });
}

/** @param {string[]} files */
function refuseToOverwrite(...files) {
  const there = files.find((file) => existsSync(file));
  if (there !== undefined) throw new KeysProblem(`${there} is there already: move it away first`);
}

/** @param {string[]} args */
function openssl(...args) {
  execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

function makeAuthority() {
  refuseToOverwrite('ca.pem', 'ca.key');
  const subject = ['-subj', '/CN=Warder broker', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'];
  openssl('req', '-x509', ...newKey('ca'), '-out', 'ca.pem', '-days', days, ...subject);
}

/** @param {string} name @param {string[]} hosts */
function makeCertificate(name, hosts) {
  refuseToOverwrite(`${name}.pem`, `${name}.key`);
  if (!existsSync('ca.key')) throw new KeysProblem('ca.key is not in this folder: make it first, keys.mjs authority');
  const names = (hosts.length === 0 ? [name] : hosts).map((host) => `${isIP(host) === 0 ? 'DNS' : 'IP'}:${host}`);
  const [request, extensions] = [`${name}.csr`, `${name}.ext`];
  try {
    writeFileSync(
      extensions,
      `subjectAltName = ${names.join(', ')}\nextendedKeyUsage = serverAuth, clientAuth\nbasicConstraints = CA:FALSE\n`,
    );
    openssl('req', ...newKey(name), '-out', request, '-subj', `/CN=${name}`);
    const authority = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', days];
    openssl('x509', '-req', '-in', request, '-out', `${name}.pem`, '-extfile', extensions, ...authority);
  } finally {
    for (const file of [request, extensions]) rmSync(file, { force: true });
  }
}

/** @param {string} name */
function newKey(name) {
  // openssl writes private keys for nobody else to read.
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', `${name}.key`];
}

/** @param {string} name */
function makeNkey(name) {
  refuseToOverwrite(`${name}.nk`);
  const pair = nkeys.createUser();
  writeSecret(`${name}.nk`, `${new TextDecoder().decode(pair.getSeed())}\n`);
  return `nkey: "${pair.getPublicKey()}"\n`;
}

/** @param {string} name */
function makePassword(name) {
  refuseToOverwrite(`${name}.password`);
  const password = randomBytes(24).toString('base64url');
  const hash = bcrypt(password);
  writeSecret(`${name}.password`, `${password}\n`);
  return `user: "${name}", password: "${hash}"\n`;
}

/** @param {string} password not on a command line, where others could read it */
function bcrypt(password) {
  // 22 characters of bcrypt's own alphabet, which base64 is but for two of them.
  const salt = randomBytes(16).toString('base64').slice(0, 22).replaceAll('+', '.').replace(/.$/, 'u');
  const program = `$_ = <STDIN>; print crypt($_, '$2a$${rounds}$${salt}')`;
  let hash = '';
  try {
    hash = execFileSync('perl', ['-e', program], { input: password, encoding: 'utf8' });
  } catch {
    // Said below: there is no perl, or none that knows bcrypt.
  }
  if (/^\$2a\$\d\d\$[./A-Za-z0-9]{53}$/.test(hash)) return hash;
  throw new KeysProblem(
    "this system's crypt knows no bcrypt: make the hash with `nats server passwd`, or with `htpasswd -nBC 11 ''`," +
      ' writing $2a$ for $2y$',
  );
}

/** @param {string[]} args */
function run([what = '', name = '', ...hosts]) {
  if (what !== 'authority' && !/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) throw new KeysProblem(usage.trimEnd());
  switch (what) {
    case 'authority':
      return makeAuthority();
    case 'certificate':
      return makeCertificate(name, hosts);
    case 'nkey':
      return makeNkey(name);
    case 'password':
      return makePassword(name);
    default:
      throw new KeysProblem(usage.trimEnd());
  }
}

try {
  process.stdout.write(run(process.argv.slice(2)) ?? '');
} catch (error) {
  const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}${said === '' ? '' : `\n${said}`}\n`);
  process.exitCode = error instanceof KeysProblem ? 2 : 1;
}
