/** A policy file in a folder of its own, for tests of what reads it. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class PolicyFile {
  readonly folder = mkdtempSync(join(tmpdir(), 'warder-test-policy-'));
  readonly path = join(this.folder, 'policy.yaml');

  constructor(text: string) {
    this.write(text);
  }

  write(text: string): void {
    writeFileSync(this.path, text);
  }

  /** As most editors and all deployment tools do. */
  replace(text: string): void {
    const other = join(this.folder, '.policy.yaml.new');
    writeFileSync(other, text);
    renameSync(other, this.path);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
