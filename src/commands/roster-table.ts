/** A contact list as a table. */
import type { ShownRoster } from './roster.ts';
import { printable } from './terminal.ts';
import type { Paint } from './terminal.ts';

const titles = ['CONTACT', 'NAME', 'SUBSCRIPTION', 'GROUPS'];

/** One roster: a heading, a line a contact, a line a request that waits for an answer. */
export function rosterTable(user: string, { items, pending, version }: ShownRoster, paint: Paint): string {
  const count = items.length === 1 ? '1 contact' : `${items.length} contacts`;
  const heading = `${paint('bold', printable(user))}  ${count}, version ${printable(version)}\n`;
  const rows = items
    .toSorted((a, b) => (a.jid < b.jid ? -1 : 1))
    .map(({ jid, name, subscription, ask, groups }) => [
      printable(jid),
      printable(name ?? '-'),
      ask === 'subscribe' ? `${printable(subscription)}, asked` : printable(subscription),
      groups.length === 0 ? '-' : groups.map(printable).join(', '),
    ]);
  const waiting = pending.map(({ jid, text }) => {
    const said = text === null || text === undefined || text === '' ? '' : `: ${printable(text)}`;
    return `  waits for an answer: ${printable(jid)}${said}\n`;
  });
  return heading + (rows.length === 0 ? '' : table([titles, ...rows])) + waiting.join('');
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = titles.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd() + '\n')
    .join('');
}
