/** An Erlang node with the near cache of the Erlang hooks and no XMPP server, asked over its stdin. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './built.ts';
import { compileErlang } from './erlang-code.ts';
import { startProcess } from './process.ts';

/** What a question came to: a verdict, from memory unless it was asked for; or none. */
export interface Decided {
  readonly verdict?: string;
  readonly asked?: boolean;
  readonly failure?: string;
  readonly miss?: boolean;
}

export type NodeState = Readonly<Record<string, number>> & { readonly is_counted: boolean };

export interface ErlangNode {
  recall(from: string, to: string): Promise<Decided>;
  decide(from: string, to: string): Promise<Decided>;
  state(): Promise<NodeState>;
  untilState(isSo: (state: NodeState) => boolean): Promise<NodeState>;
  output(): string;
  /** SIGSTOP; what is asked meanwhile waits. */
  pause(): Promise<void>;
  resume(): void;
  stop(): Promise<void>;
}

let compiled: Promise<string> | undefined;

/** Once for all nodes of a test file. */
function compileOnce(): Promise<string> {
  compiled ??= (async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warder-test-node-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    await compileErlang(join(root, 'deploy/ejabberd/mod_warder/src'), /^warder_\w+\.erl$/, folder);
    await compileErlang(join(root, 'test/servers'), /^near_cache_console\.erl$/, folder, ['-Wall', '-Werror']);
    return folder;
  })();
  return compiled;
}

export async function startErlangNode(options: {
  natsUrl: string;
  boundMs: number;
  budgetMs: number;
}): Promise<ErlangNode> {
  const { natsUrl, boundMs, budgetMs } = options;
  const reports = '[{handler,default,logger_std_h,#{config=>#{type=>standard_error}}}]';
  const start = ['-noshell', '-kernel', 'logger', reports, '-pa', await compileOnce()];
  const child = await startProcess({
    command: 'erl',
    args: [...start, '-run', 'near_cache_console', 'main', '-extra', natsUrl, String(boundMs), String(budgetMs)],
    env: { ERL_CRASH_DUMP: '/dev/null' },
    ready: /^ready$/m,
    hasInput: true,
  });
  let asked = 0;
  const call = async (command: string): Promise<unknown> => {
    asked += 1;
    const answer = new RegExp(`^reply ${asked} (.*)\\n`, 'm');
    child.write(`${asked} ${command}\n`);
    const [, text = ''] = await child.waitForOutput(answer);
    return JSON.parse(text);
  };
  const state = () => call('state') as Promise<NodeState>;
  return {
    recall: (from, to) => call(`recall ${from} ${to}`) as Promise<Decided>,
    decide: (from, to) => call(`decide ${from} ${to}`) as Promise<Decided>,
    state,
    untilState: async (isSo) => {
      for (;;) {
        const now = await state();
        if (isSo(now)) return now;
      }
    },
    output: () => child.output(),
    pause: () => child.pause(),
    resume: () => void child.signal('SIGCONT'),
    stop: async () => void (await child.stop()),
  };
}
