import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { holderOf, isPortFree, listeningInodes } from '../../src/commands/port-holder.ts';

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:10E2 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:10E2 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 20 4 30 10 -1
   2: 00000000:10E3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0
`;

describe('listeningInodes', () => {
  it.each([
    { name: 'who listens, and not the connections', port: 4_322, want: ['111'] },
    { name: 'who listens on every address', port: 4_323, want: ['333'] },
    { name: 'nobody', port: 1, want: [] },
  ])('finds $name', ({ port, want }) => {
    expect(listeningInodes(table, port)).toEqual(want);
  });

  it('finds nothing in what is no table', () => {
    expect(listeningInodes('', 1)).toEqual([]);
    expect(listeningInodes('rubbish\n\n: :', 1)).toEqual([]);
  });
});

describe('a port that is held', () => {
  const server = createServer();
  let port = 0;
  beforeAll(async () => {
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve());
    });
    const address = server.address();
    port = typeof address === 'object' && address !== null ? address.port : 0;
  });
  afterAll(() => void server.close());

  it('is not free, and its holder is this process', async () => {
    expect(await isPortFree('127.0.0.1', port)).toBe(false);
    expect(holderOf(port)).toMatchObject({ pid: process.pid, parentPid: process.ppid });
  });
});
