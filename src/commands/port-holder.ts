/** Who holds a TCP port of this machine, as far as /proc tells (Linux; the processes of others only to root). */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';

export interface Holder {
  readonly pid: number;
  /** Its command line. */
  readonly command: string;
  /** The process that started it; 1 when that one has ended. */
  readonly parentPid: number;
}

/** Whether a server could listen there now. */
export function isPortFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** The process that listens on a port; undefined when it cannot be told. */
export function holderOf(port: number): Holder | undefined {
  const inodes = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) => listeningInodes(read(table), port)));
  if (inodes.size === 0) return undefined;
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name))) {
    if (list(`/proc/${pid}/fd`).some((fd) => inodes.has(socketInode(`/proc/${pid}/fd/${fd}`)))) {
      const command = read(`/proc/${pid}/cmdline`).split('\0').join(' ').trim();
      const stat = read(`/proc/${pid}/stat`);
      return { pid: Number(pid), command, parentPid: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) };
    }
  }
  return undefined;
}

/** The inodes of the sockets that listen on a port, from a table as in /proc/net/tcp. */
export function listeningInodes(table: string, port: number): string[] {
  return table.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [, local = '', , state] = fields;
    const isListening = state === '0A';
    const inode = fields[9];
    return isListening && inode !== undefined && Number.parseInt(local.split(':')[1] ?? '', 16) === port ? [inode] : [];
  });
}

function socketInode(link: string): string {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(link))?.[1] ?? '';
  } catch {
    return ''; // closed meanwhile
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // ended meanwhile, or somebody else's
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
