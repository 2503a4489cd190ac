/** The sections of docs/operations.md about alerts, so that a dashboard can show what to do without another window. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cwd } from 'node:process';

/**
 * The section of an alert, with its heading, as Markdown. Run in the project's folder.
 * @throws Error when there is none: each alert has one
 */
export function runbook(alert: string): string {
  const sections = readFileSync(join(cwd(), 'docs/operations.md'), 'utf8').split(/^(?=##)/m);
  const section = sections.find((one) => one.startsWith(`### ${alert}\n`));
  if (section === undefined) throw new Error(`docs/operations.md has no section for ${alert}`);
  return section.trimEnd();
}
