/** The workers of a run, and what they have in common with its askers: processes, each behind proxies of its own, replaced when they end. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Proxy } from './proxy.ts';

/** Where a client finds the brokers. */
export interface Way {
  readonly proxies: readonly Proxy[];
  readonly urls: string;
}

export async function makeWay(ports: readonly number[]): Promise<Way> {
  const proxies = ports.map((port) => new Proxy(port));
  const own = await Promise.all(proxies.map((proxy) => proxy.start()));
  return { proxies, urls: own.map((port) => `nats://127.0.0.1:${port}`).join(',') };
}

/** One client: the process that runs now, its way to the brokers, and how often it was started. */
export abstract class Client {
  readonly name: string;
  readonly way: Way;
  readonly folder: string;
  protected starts = 0;
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #replacing: Promise<void> | undefined;
  #isEnding = false;
  /** What the process that ended without being told to has said last; undefined as long as none has. */
  endedByItself: string | undefined;

  constructor(name: string, way: Way, folder: string) {
    this.name = name;
    this.way = way;
    this.folder = folder;
  }

  protected abstract command(): { command: string; args: string[]; env: Record<string, string> };

  start(): void {
    this.starts += 1;
    this.#isEnding = false;
    const errors = join(this.folder, `${this.name}.${this.starts}.err`);
    const { command, args, env } = this.command();
    const stdout = openSync(join(this.folder, `${this.name}.${this.starts}.out`), 'w');
    const stderr = openSync(errors, 'w');
    const child = spawn(command, args, { stdio: ['ignore', stdout, stderr], env: { ...process.env, ...env } });
    closeSync(stdout);
    closeSync(stderr);
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      const ended = () => {
        if (!this.#isEnding) this.endedByItself ??= `${this.name}: ${readFileSync(errors, 'utf8').slice(-2_000)}`;
        resolve();
      };
      child.once('exit', ended);
      child.once('error', ended);
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** SIGKILL, and another of the same name at once; two faults that come together are one. */
  replace(): Promise<void> {
    this.#replacing ??= this.#killAndStart().finally(() => {
      this.#replacing = undefined;
    });
    return this.#replacing;
  }

  async #killAndStart(): Promise<void> {
    this.#isEnding = true;
    this.signal('SIGKILL');
    await this.#exited;
    this.start();
  }

  /** Ends it: in good order, or by force when that takes long. */
  async end(): Promise<void> {
    this.#isEnding = true;
    this.signal('SIGCONT');
    this.signal('SIGTERM');
    const force = setTimeout(() => this.signal('SIGKILL'), 5_000);
    await this.#exited;
    clearTimeout(force);
  }

  async release(): Promise<void> {
    await this.end();
    await Promise.all(this.way.proxies.map((proxy) => proxy.stop()));
  }
}

export interface WorkerSettings {
  /** The built command, or one with a planted fault. */
  readonly main: string;
  readonly prefix: string;
  readonly truthUrl: string;
  readonly boundMs: number;
  readonly replicas: number;
}

export class Worker extends Client {
  readonly #settings: WorkerSettings;
  readonly #config: string;

  constructor(name: string, way: Way, folder: string, settings: WorkerSettings) {
    super(name, way, folder);
    this.#settings = settings;
    this.#config = join(folder, `${name}.yaml`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(this.#config, configOf(settings));
  }

  protected override command() {
    const { main, prefix } = this.#settings;
    return {
      command: process.execPath,
      args: [main, 'worker', '--config', this.#config],
      env: { WARDER_NATS_URL: this.way.urls, WARDER_HTTP_LISTEN: '127.0.0.1:0', WARDER_SUBJECT_PREFIX: prefix },
    };
  }
}

function configOf({ truthUrl, boundMs, replicas }: WorkerSettings): string {
  return `
log: { level: warn }
freshness: { bound_ms: ${boundMs}, stream_replicas: ${replicas} }
limits: { drain_timeout_ms: 1000 }
operations:
  stanza-check: { sources: stanzas }
  join-check: { sources: joins }
sources:
  stanzas: { type: http, url: "${truthUrl}/stanza", timeout_ms: 6000, breaker: { failures: 1000 } }
  joins: { type: http, url: "${truthUrl}/join", timeout_ms: 6000, breaker: { failures: 1000 } }
`;
}
