/** What `ejabberdctl warder_stats` of an ejabberd prints. */
import type { XmppServer } from './xmpp-server.ts';

export interface StatsRow {
  readonly host: string;
  /** An operation, or what is counted beside them. */
  readonly subject: string;
  readonly class: string;
  readonly name: string;
  readonly number: number;
}

/** @throws Error when there is no such command */
export async function ejabberdStats(server: XmppServer): Promise<readonly StatsRow[]> {
  const printed = '{Text, 0} = ejabberd_ctl:process2(["warder_stats"], []), binary_to_list(base64:encode(Text))';
  const encoded = await server.shell(printed);
  const text = Buffer.from(encoded.slice(1, -1), 'base64').toString();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [host = '', subject = '', ofClass = '', name = '', number] = line.split('\t');
      return { host, subject, class: ofClass, name, number: Number(number) };
    });
}
