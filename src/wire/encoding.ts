// Owns the one rule that tells the two encodings apart: the first byte.

export type Encoding = 'messagepack' | 'json';

/** JSON begins with `{` or white space, which no MessagePack map begins with. What is neither gets its answer in MessagePack. */
export function encodingOf(bytes: Uint8Array): Encoding {
  const first = bytes[0];
  return first === 0x7b || first === 0x20 || first === 0x0a || first === 0x0d || first === 0x09
    ? 'json'
    : 'messagepack';
}
