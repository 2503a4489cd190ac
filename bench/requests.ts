/** The requests of the bench and the files that the load generator reads them from. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { encodeMessagePack } from '../src/wire/messagepack.ts';

export const echoSubject = 'bench.echo';
export const pairCount = 1_000;
/** Distinct requests: every pair ten times, each time with an id of its own. */
const requestCount = 10 * pairCount;
const stanzaBytes = 400;

export interface Pair {
  readonly from: string;
  readonly to: string;
}

/** Full JIDs on the sender's side, bare ones on the recipient's. */
export function pairs(): Pair[] {
  return Array.from({ length: pairCount }, (_, index) => ({
    from: `user${index}@example.org/phone`,
    to: `friend${(index * 7) % pairCount}@chat.example.org`,
  }));
}

/** What a decision is kept under: both bare JIDs, as under the worker's scope `pair`. */
export function pairOf(from: string, to: string): string {
  return `${from.split('/')[0] ?? ''} ${to.split('/')[0] ?? ''}`;
}

interface StanzaCheckRequest extends Record<string, unknown> {
  readonly id: string;
}

function stanzaChecks(): StanzaCheckRequest[] {
  const all = pairs();
  return Array.from({ length: requestCount }, (_, index) => {
    const { from, to } = all[index % pairCount] ?? { from: '', to: '' };
    const id = randomBytes(12).toString('base64url');
    const stanza = stanzaOf(from, to, id);
    return {
      v: 1,
      id,
      server: 'bench',
      budget_ms: 5_000,
      hook: 'send',
      from,
      to,
      kind: 'message',
      type: 'chat',
      stanza,
    };
  });
}

function stanzaOf(from: string, to: string, id: string): string {
  const head = `<message xmlns='jabber:client' from='${from}' to='${to}' id='${id}' type='chat'><body>`;
  const tail = '</body></message>';
  return head + 'x'.repeat(stanzaBytes - head.length - tail.length) + tail;
}

export interface RequestFiles {
  /** MessagePack, and replies that hold the id and the verdict allow. */
  readonly worker: string;
  /** The same requests, and replies that are the request. */
  readonly echo: string;
  /** The same requests as JSON in whole HTTP requests. */
  readonly http: string;
}

/** Writes the three files into a folder. */
export function writeRequestFiles(folder: string): RequestFiles {
  const files: RequestFiles = { worker: `${folder}/worker`, echo: `${folder}/echo`, http: `${folder}/http` };
  const checks = stanzaChecks();
  const allow = encodeMessagePack({ verdict: 'allow' }).subarray(1);
  const packed = checks.map((check) => ({ id: check.id, payload: encodeMessagePack(check) }));
  writeFileSync(files.worker, Buffer.concat(packed.map(({ id, payload }) => record(payload, id, allow))));
  writeFileSync(files.echo, Buffer.concat(packed.map(({ id, payload }) => record(payload, id, payload))));
  const json = checks.map((check) => record(httpRequest(JSON.stringify(check)), check.id, '"verdict":"allow"'));
  writeFileSync(files.http, Buffer.concat(json));
  return files;
}

function httpRequest(body: string): string {
  return [
    'POST /stanza-check HTTP/1.1',
    'Host: 127.0.0.1',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    '',
    body,
  ].join('\r\n');
}

/** See `load.c`: each part after its length. */
function record(...parts: readonly (string | Uint8Array)[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}
