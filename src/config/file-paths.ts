/** Paths in the configuration begin at the folder of its file, wherever the process was started. */
import { resolve } from 'node:path';

/** The tree with every `file` and `…_file` made absolute. */
export function withAbsolutePaths(node: unknown, folder: string): unknown {
  if (Array.isArray(node)) return node.map((item) => withAbsolutePaths(item, folder));
  if (node === null || typeof node !== 'object') return node;
  return Object.fromEntries(
    Object.entries(node).map(([key, value]) => {
      if (key === 'headers') return [key, value]; // names of the operator's own
      const isPath = /(^|_)file$/.test(key) && typeof value === 'string' && value !== '';
      return [key, isPath ? resolve(folder, value) : withAbsolutePaths(value, folder)];
    }),
  );
}
