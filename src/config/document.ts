/** The YAML document under the configuration: its tree, and the line on which each part stands. */
import { isCollection, isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import type { Document } from 'yaml';
import { ConfigInvalid, problemAt } from './problems.ts';
import { isMap as isTreeMap } from './routes.ts';
import type { Path, Problem } from './problems.ts';

export interface ConfigDocument {
  readonly tree: Record<string, unknown>;
  /** The line of the nearest part of a path that the document has. */
  lineOf(path: Path): number | undefined;
}

/**
 * `wanted` says which keys the map may have.
 * @throws ConfigInvalid with every error of the syntax
 */
export function parseYaml(
  text: string,
  file: string,
  wanted = 'nats, http, log, operations, sources, …',
): ConfigDocument {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const errors = [...document.errors, ...document.warnings];
  if (errors.length > 0) {
    const at = (error: { pos: [number, number]; message: string }): Problem => ({
      ...problemAt([], error.message),
      line: lines.linePos(error.pos[0]).line,
    });
    throw new ConfigInvalid(file, errors.map(at));
  }
  return { tree: treeOf(document, file, wanted), lineOf: (path) => lineOf(document, lines, path) };
}

function treeOf(document: Document, file: string, wanted: string): Record<string, unknown> {
  let tree: unknown;
  try {
    tree = document.toJS() ?? {};
  } catch (error) {
    // An alias without its anchor, or aliases that multiply beyond reason.
    throw new ConfigInvalid(file, [problemAt([], error instanceof Error ? error.message : String(error))]);
  }
  if (!isTreeMap(tree)) {
    throw new ConfigInvalid(file, [problemAt([], `must be a map of ${wanted}`)]);
  }
  const map = withoutEmpty(tree);
  const operations = map['operations'];
  return isTreeMap(operations) ? { ...map, operations: withoutEmpty(operations) } : map;
}

/** A section of which everything is commented out is as absent as one that is commented out itself. */
function withoutEmpty(tree: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(tree).filter(([, value]) => value !== null));
}

function lineOf(document: Document, lines: LineCounter, path: Path): number | undefined {
  let node: unknown = document.contents;
  let offset: number | undefined;
  for (const key of path) {
    if (!isCollection(node)) break;
    const pair = isMap(node)
      ? node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key))
      : undefined;
    // A key's own line, not that of its value, which may begin further down.
    const place: unknown = pair === undefined ? node.get(key, true) : pair.key;
    const range = typeof place === 'object' && place !== null && 'range' in place ? place.range : undefined;
    if (!Array.isArray(range)) break;
    offset = Number(range[0]);
    node = pair === undefined ? place : pair.value;
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
}
