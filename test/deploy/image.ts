/**
 * Follows a Dockerfile without an engine: the files of each stage in a folder, its commands run there by this machine's
 * Node. Knows the instructions that ours has, and refuses others.
 */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

export interface Image {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly user: string | undefined;
  /** Entry point and arguments. */
  readonly command: readonly string[];
}

interface Stage {
  readonly folder: string;
  readonly workdir: string;
  readonly env: Record<string, string>;
  user: string | undefined;
  entrypoint: string[];
  cmd: string[];
}

const run = promisify(execFile);

/**
 * @param context the folder that is built from
 * @param place an empty folder for the stages
 * @throws Error with the output of a command that fails, or naming an instruction that is not known
 */
export async function buildImage(dockerfile: string, context: string, place: string): Promise<Image> {
  const stages = new Map<string, Stage>();
  let stage: Stage | undefined;
  let workdir = '';
  for (const line of instructions(readFileSync(dockerfile, 'utf8'))) {
    const [, instruction = '', rest = ''] = /^(\w+)\s+([^]*)$/.exec(line) ?? [];
    if (instruction === 'FROM') {
      const [, , name = `stage-${stages.size}`] = /^(\S+)(?: AS (\S+))?$/.exec(rest) ?? [];
      stage = { folder: join(place, name), workdir, env: {}, user: undefined, entrypoint: [], cmd: [] };
      mkdirSync(stage.folder);
      stages.set(name, stage);
      continue;
    }
    if (stage === undefined) throw new Error(`${line} stands before FROM`);
    switch (instruction) {
      case 'WORKDIR':
        workdir = rest;
        break;
      case 'ENV':
        for (const [, name = '', value = ''] of rest.matchAll(/(\w+)=(\S+)/g)) stage.env[name] = value;
        break;
      case 'COPY':
        copy(rest.split(/\s+/), stage, stages, context, workdir);
        break;
      case 'RUN':
        await run('sh', ['-c', rest], { cwd: stage.folder, env: { ...process.env, ...stage.env } });
        break;
      case 'USER':
        stage.user = rest;
        break;
      case 'ENTRYPOINT':
        stage.entrypoint = list(rest);
        break;
      case 'CMD':
        stage.cmd = list(rest);
        break;
      case 'EXPOSE':
      case 'HEALTHCHECK':
        break;
      default:
        throw new Error(`${instruction} is no instruction that is known here: ${line}`);
    }
  }
  if (stage === undefined) throw new Error('no FROM');
  return { folder: stage.folder, env: stage.env, user: stage.user, command: [...stage.entrypoint, ...stage.cmd] };
}

/** Lines with their continuations, without comments. */
function instructions(text: string): string[] {
  const lines = text.split('\n').filter((line) => !line.trimStart().startsWith('#'));
  return lines
    .join('\n')
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '');
}

/** The working folder of every stage stands for itself: `/warder/x` of an earlier one is `x` in its folder. */
function copy(words: string[], stage: Stage, stages: Map<string, Stage>, context: string, workdir: string): void {
  const from = words[0]?.startsWith('--from=') === true ? words.shift()?.slice('--from='.length) : undefined;
  const source = from === undefined ? context : stages.get(from)?.folder;
  if (source === undefined) throw new Error(`there is no stage ${from ?? ''}`);
  const target = words.pop() ?? '';
  for (const word of words) {
    const path = join(source, from === undefined ? word : word.replace(`${workdir}/`, ''));
    cpSync(path, join(stage.folder, target, target.endsWith('/') ? basename(path) : ''), { recursive: true });
  }
}

function list(text: string): string[] {
  const parsed: unknown = JSON.parse(text);
  if (!Array.isArray(parsed)) throw new Error(`${text} should be a list`);
  return parsed.map(String);
}
