import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { startProcess } from './process.ts';

const node = process.execPath;
const root = fileURLToPath(new URL('../..', import.meta.url));

describe('startProcess', () => {
  it('waits until the output matches', async () => {
    const child = await startProcess({
      command: node,
      args: ['-e', 'console.log("port 12"); setInterval(() => {}, 1000)'],
      ready: /port \d+/,
    });
    expect(child.output()).toBe('port 12\n');
    expect(await child.stop()).toEqual({ code: null, signal: 'SIGTERM' });
  });

  it('fails at once, with the output, when the child ends before it is ready', async () => {
    const command = { command: node, args: ['-e', 'console.error("no such door"); process.exitCode = 3'] };
    await expect(startProcess({ ...command, ready: /never/ })).rejects.toThrow(/ended with code 3[^]*no such door/);
    await expect(startProcess({ ...command, ready: () => false })).rejects.toThrow(/ended with code 3[^]*no such door/);
  });

  it('ends a child that is not ready in time', async () => {
    let pid = 0;
    const ready = (childPid: number): boolean => {
      pid = childPid;
      return false;
    };
    const starting = startProcess({ command: 'sleep', args: ['1000'], ready, readyTimeoutMs: 50 });
    await expect(starting).rejects.toThrow('not ready within 50 ms');
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });

  it('kills a child that does not heed SIGTERM', async () => {
    const child = await startProcess({
      command: node,
      args: ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log("up")'],
      ready: /up/,
      stopTimeoutMs: 100,
    });
    expect(await child.stop()).toEqual({ code: null, signal: 'SIGKILL' });
    expect(await child.stop()).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('names a binary that is not there', async () => {
    await expect(startProcess({ command: 'no-such-server' })).rejects.toThrow('no-such-server is neither on PATH');
  });

  it('leaves no child behind when the test process is killed', async () => {
    const folder = mkdtempSync(join(root, 'node_modules', '.warder-test-'));
    try {
      const compiler = await startProcess({
        command: join(root, 'node_modules/.bin/tsc'),
        args: ['--ignoreConfig', '--noCheck', '--module', 'nodenext', '--outDir', folder, 'test/servers/process.ts'],
        cwd: root,
      });
      expect(await compiler.exited).toEqual({ code: 0, signal: null });
      const parent = await startProcess({
        command: node,
        args: [
          '--input-type=module',
          '-e',
          `import { startProcess } from ${JSON.stringify(join(folder, 'process.js'))};
           console.log('child', (await startProcess({ command: 'sleep', args: ['1000'] })).pid);
           setInterval(() => {}, 1000);`,
        ],
      });
      const child = Number((await parent.waitForOutput(/child (\d+)/))[1]);
      expect(existsSync(`/proc/${child}`)).toBe(true);
      parent.signal('SIGKILL');
      await parent.exited;
      await expect.poll(() => existsSync(`/proc/${child}`), { interval: 5, timeout: 20_000 }).toBe(false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
