/** The askers of a run: processes that ask as a hook does, by the near cache of that hook, and write down what they were told. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { compileErlang } from '../servers/erlang-code.ts';
import { Client } from './clients.ts';
import type { Way } from './clients.ts';

/** Whose near cache: the one in Lua for Prosody, the one in Erlang for ejabberd. */
export const askerKinds = ['lua', 'erlang'] as const;
export type AskerKind = (typeof askerKinds)[number];

export interface AskerSettings {
  readonly prefix: string;
  readonly boundMs: number;
  readonly perSecond: number;
  readonly budgetMs: number;
  readonly seed: number;
}

abstract class AnyAsker extends Client {
  readonly #settings: AskerSettings;
  abstract readonly kind: AskerKind;

  constructor(name: string, way: Way, folder: string, settings: AskerSettings) {
    super(name, way, folder);
    this.#settings = settings;
  }

  /** Of all that ran under this name. */
  get histories(): string[] {
    return Array.from({ length: this.starts }, (_none, index) => join(this.folder, `${this.name}.${index + 1}.out`));
  }

  /** What both kinds understand. */
  protected options(): string[] {
    const { prefix, boundMs, perSecond, budgetMs, seed } = this.#settings;
    const options = {
      nats: this.way.urls,
      prefix,
      name: this.name,
      seed: seed + this.starts * 1_000,
      rate: perSecond,
      'bound-ms': boundMs,
      'budget-ms': budgetMs,
    };
    return Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  }
}

class LuaAsker extends AnyAsker {
  override readonly kind = 'lua';
  readonly #code: AskerCode;

  constructor(name: string, way: Way, folder: string, settings: AskerSettings, code: AskerCode) {
    super(name, way, folder, settings);
    this.#code = code;
  }

  protected override command() {
    const { script, library } = this.#code.lua;
    return { command: 'lua5.4', args: [script, ...this.options(), '--library', library], env: {} };
  }
}

class ErlangAsker extends AnyAsker {
  override readonly kind = 'erlang';
  readonly #code: AskerCode;

  constructor(name: string, way: Way, folder: string, settings: AskerSettings, code: AskerCode) {
    super(name, way, folder, settings);
    this.#code = code;
  }

  protected override command() {
    // Its reports go to stderr, since stdout is the history. Two schedulers, so that processes do run at the same time.
    const reports = '[{handler,default,logger_std_h,#{config=>#{type=>standard_error}}}]';
    const frugal = ['+S', '2:2', '+sbwt', 'none', '+sbwtdcpu', 'none', '+sbwtdio', 'none'];
    const start = ['-noinput', '-kernel', 'logger', reports, '-pa', this.#code.erlang];
    return {
      command: 'erl',
      args: [...frugal, ...start, '-run', 'freshness_asker', 'main', '-extra', ...this.options()],
      env: { ERL_CRASH_DUMP: '/dev/null' },
    };
  }
}

export type Asker = LuaAsker | ErlangAsker;

/** Where the code of the askers is. */
export interface AskerCode {
  /** The asker's script, and the hook's files: those that ship, or a copy with a planted fault. */
  readonly lua: { readonly script: string; readonly library: string };
  /** The folder with the compiled modules of both asker and hook. */
  readonly erlang: string;
}

/** Compiles what has to be compiled. `erlangHook`: the hook's folder, with a planted fault or without. */
export async function prepareAskers(
  root: string,
  folder: string,
  { luaHook, erlangHook }: { luaHook: string; erlangHook: string },
): Promise<AskerCode> {
  const scripts = join(root, 'test/freshness');
  const erlang = join(folder, 'ebin');
  mkdirSync(erlang, { recursive: true });
  // A planted fault may well be one that the compiler would complain of.
  await compileErlang(join(erlangHook, 'src'), /^warder_\w+\.erl$/, erlang);
  await compileErlang(scripts, /^freshness_\w+\.erl$/, erlang, ['-Wall', '-Werror']);
  return { lua: { script: join(scripts, 'asker.lua'), library: luaHook }, erlang };
}

export function newAsker(kind: AskerKind, code: AskerCode, ...rest: ConstructorParameters<typeof AnyAsker>): Asker {
  return kind === 'lua' ? new LuaAsker(...rest, code) : new ErlangAsker(...rest, code);
}
