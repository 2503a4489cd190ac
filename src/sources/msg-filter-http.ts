/**
 * ejabberd's mod_msg_filter: may this one write to that one? GET of a URI template, as the original's parameters have no
 * published names; the answer is XML:
 *
 *     <status value="denied"><stanza1><error/></stanza1><stanza2><noop/></stanza2></status>
 *
 * `stanza1` is for the first JID of the question, `stanza2` for the second: an element to be sent to it, `<noop/>` for
 * nothing. One answer holds for both directions with the stanzas swapped, as in the original, unless `symmetric: false`.
 */
import { parseTemplate } from 'url-template';
import type { MsgFilterHttpConfig } from '../config/sources.ts';
import { originOf, variablesOf } from '../config/uri-template.ts';
import { hasBody } from '../wire/xml.ts';
import type { StanzaCheck } from '../wire/requests.ts';
import { createHttpCaller } from './http-call.ts';
import { decisionFor, readStatus } from './msg-filter-status.ts';
import type { Answer, Question, Source, SourceContext } from './source.ts';

/** @throws when `ca_file` cannot be read. */
export async function createMsgFilterHttpSource(config: MsgFilterHttpConfig, context: SourceContext): Promise<Source> {
  const http = await createHttpCaller(originOf(config.url), config, context);
  const template = parseTemplate(config.url);
  const scope = variablesOf(config.url).some((name) => name.endsWith('_resource')) ? 'pair-full' : 'pair';
  const looksAtBody = (kind: string) => config.without_body === 'allow' && kind === 'message';

  const answerOf = (body: Uint8Array): Answer => {
    const status = readStatus(body);
    const decision = decisionFor(status, 'stanza1', 'stanza2');
    return config.symmetric
      ? { decision, scope, reverse: decisionFor(status, 'stanza2', 'stanza1') }
      : { decision, scope };
  };

  return {
    name: context.name,
    type: config.type,
    lagMs: config.lag_ms,
    unchecked(question) {
      const { kind, stanza } = checkOf(question);
      if (!config.kinds.includes(kind)) return `${kind} is not in kinds`;
      return looksAtBody(kind) && stanza !== undefined && !hasBody(stanza) ? 'a message without body' : undefined;
    },
    needsStanza(question) {
      const { kind, stanza, stanza_omitted } = checkOf(question);
      return looksAtBody(kind) && stanza === undefined && !stanza_omitted;
    },
    identity(question) {
      const { from, to } = checkOf(question);
      const sides = scope === 'pair' ? [from.bare, to.bare] : [from.full, to.full];
      return (config.symmetric ? sides.toSorted() : sides).join('\0');
    },
    decide(question, call) {
      const url = template.expand(variables(checkOf(question)));
      return http.call({ method: 'GET', url, accept: 'application/xml, text/xml', read: answerOf }, call);
    },
    stop: () => http.stop(),
  };
}

function variables({ from, to }: StanzaCheck): Record<string, string> {
  return {
    from: from.bare,
    from_node: from.node,
    from_domain: from.domain,
    from_resource: from.resource,
    to: to.bare,
    to_node: to.node,
    to_domain: to.domain,
    to_resource: to.resource,
  };
}

function checkOf(question: Question): StanzaCheck {
  if (question.operation !== 'stanza-check')
    throw new Error(`a msg-filter-http source was asked ${question.operation}`);
  return question.request;
}
