import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decisionFor, readStatus } from '../../src/sources/msg-filter-status.ts';
import type { Source } from '../../src/sources/source.ts';
import { SourceUnavailable } from '../../src/sources/source.ts';
import { stanzaQuestion } from '../questions.ts';
import { conformsAsHttpSource } from './conformance.ts';
import { make, patient } from './context.ts';
import { HttpService, answer } from './http-service.ts';

const allowed = '<status value="allowed"><stanza1><noop/></stanza1><stanza2><noop/></stanza2></status>';
const denied = '<status value="denied"><stanza1><error/></stanza1><stanza2><error/></stanza2></status>';
const forbidden = '<error type="auth"><forbidden xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>';
const notAllowed = { type: 'cancel', condition: 'not-allowed' };
const template = '/check{?from,to}';

conformsAsHttpSource('msg-filter-http', {
  type: 'msg-filter-http',
  options: (url) => ({ url: url + template }),
  ask: async (source, call) => (await source.decide?.(stanzaQuestion(), call))?.decision.verdict,
  answers: {
    allow: { body: allowed, is: 'allow' },
    deny: { body: denied, is: 'deny' },
    'allow, with a declaration before it': {
      body: `<?xml version="1.0" encoding="UTF-8"?>\n${allowed}\n`,
      is: 'allow',
    },
    'allow, with nothing in it': { body: '<status value="allowed"/>', is: 'allow' },
  },
  rubbish: {
    'no XML': '{"allowed":true}',
    'HTML that is not closed': '<p>It works!<br>',
    'another element': '<state value="allowed"/>',
    'no value': '<status/>',
    'an unknown value': '<status value="maybe"/>',
    'a value in another case': '<status value="Allowed"/>',
    'two elements': '<status value="allowed"/><status value="denied"/>',
    'a DTD': `<!DOCTYPE status [<!ENTITY a "b">]>${allowed}`,
    'two first stanzas': '<status value="denied"><stanza1><error/></stanza1><stanza1><noop/></stanza1></status>',
    'two stanzas in one': '<status value="denied"><stanza1><error/><noop/></stanza1></status>',
  },
});

describe('msg-filter-http', () => {
  let service: HttpService;
  let source: Source;
  beforeEach(async () => {
    service = await HttpService.start();
    service.behave = answer(200, allowed);
  });
  afterEach(async () => {
    await source.stop();
    await service.stop();
  });
  const open = async (path = template, more: object = {}) => {
    ({ source } = await make({ type: 'msg-filter-http', url: service.url + path, ...more }));
  };
  const decide = (fields: Record<string, unknown> = {}) => source.decide?.(stanzaQuestion(fields), patient);

  it('puts the JIDs where the template says, encoded', async () => {
    await open('/{from_domain}/check?a={from}&b={to}{&from_resource,to_resource}&n={from_node}');
    await decide({ from: 'a#b=c+d@localhost/x y', to: 'bob@example.org/é#?' });
    expect(service.seen[0]?.url).toBe(
      '/localhost/check?a=a%23b%3Dc%2Bd%40localhost&b=bob%40example.org&from_resource=x%20y&to_resource=%C3%A9%23%3F&n=a%23b%3Dc%2Bd',
    );
  });

  it('lets a denial be for the pair of bare JIDs where the template names no resource', async () => {
    await open();
    expect((await decide())?.scope).toBe('pair');
  });

  it('lets a denial be for the pair of full JIDs where it does', async () => {
    await open('/check{?from,to,to_resource}');
    expect((await decide())?.scope).toBe('pair-full');
  });

  it('answers both directions, with the stanzas swapped', async () => {
    await open();
    service.behave = answer(
      200,
      `<status value="denied"><stanza1>${forbidden}</stanza1><stanza2><noop/></stanza2></status>`,
    );
    expect(await decide()).toEqual({
      scope: 'pair',
      decision: { verdict: 'deny', error: { xml: forbidden } },
      reverse: { verdict: 'drop', notify: forbidden },
    });
  });

  it('asks once for both directions', async () => {
    await open();
    const [there, back] = [{}, { from: 'bob@localhost/desk', to: 'alice@localhost' }];
    expect(source.identity?.(stanzaQuestion(there))).toBe(source.identity?.(stanzaQuestion(back)));
  });

  it('answers one direction only when told that they differ', async () => {
    await open(template, { symmetric: false });
    expect(await decide()).toEqual({ scope: 'pair', decision: { verdict: 'allow' } });
    const back = stanzaQuestion({ from: 'bob@localhost/desk', to: 'alice@localhost' });
    expect(source.identity?.(stanzaQuestion())).not.toBe(source.identity?.(back));
  });

  it('checks messages, and other kinds only when told to', async () => {
    await open();
    expect(source.unchecked?.(stanzaQuestion())).toBeUndefined();
    expect(source.unchecked?.(stanzaQuestion({ kind: 'iq' }))).toBe('iq is not in kinds');
    await source.stop();
    await open(template, { kinds: ['message', 'iq'] });
    expect(source.unchecked?.(stanzaQuestion({ kind: 'iq' }))).toBeUndefined();
  });

  it('lets messages without body pass, and asks for the stanza where it cannot see', async () => {
    await open();
    expect(source.unchecked?.(stanzaQuestion({ stanza: '<message><active/></message>' }))).toBe(
      'a message without body',
    );
    expect(source.needsStanza?.(stanzaQuestion({ stanza: undefined }))).toBe(true);
    expect(source.needsStanza?.(stanzaQuestion({ stanza: undefined, stanza_omitted: true }))).toBe(false);
    expect(source.needsStanza?.(stanzaQuestion())).toBe(false);
  });

  it('checks messages without body when told to, and needs no stanza then', async () => {
    await open(template, { without_body: 'check' });
    expect(source.unchecked?.(stanzaQuestion({ stanza: '<message><active/></message>' }))).toBeUndefined();
    expect(source.needsStanza?.(stanzaQuestion({ stanza: undefined }))).toBe(false);
  });
});

describe('the status of msg-filter-http', () => {
  const decided = (first: string, second = '') =>
    decisionFor(readStatus(Buffer.from(`<status value="denied">${first}${second}</status>`)), 'stanza1', 'stanza2');

  it.each([
    ['an empty error is cancel/not-allowed', '<stanza1><error/></stanza1>', { verdict: 'deny', error: notAllowed }],
    ['no first stanza is cancel/not-allowed', '', { verdict: 'deny', error: notAllowed }],
    ['an empty first stanza is cancel/not-allowed', '<stanza1/>', { verdict: 'deny', error: notAllowed }],
    ['noop is a denial that the sender does not hear of', '<stanza1><noop/></stanza1>', { verdict: 'drop' }],
    [
      'a stanza error stays as it stands',
      `<stanza1>${forbidden}</stanza1>`,
      { verdict: 'deny', error: { xml: forbidden } },
    ],
  ])('%s', (_, first, expected) => expect(decided(first)).toEqual(expected));

  it.each([
    ['an error without a condition', '<error type="auth"/>'],
    ['text', '<error>blocked</error>'],
    ['a message', '<message><body>blocked</body></message>'],
    ['an error that needs a prefix from outside', '<error xmlns:a="u" type="auth"><a:b/></error>'],
  ])('denies although the first stanza is %s', (_, stanza) => {
    expect(decided(`<stanza1>${stanza}</stanza1>`)).toMatchObject({ verdict: 'deny', error: notAllowed });
  });

  it('denies although the error leans on a prefix of its document', () => {
    const xml = `<status value="denied" xmlns:s="urn:ietf:params:xml:ns:xmpp-stanzas"><stanza1><error type="auth"><s:forbidden/></error></stanza1></status>`;
    expect(decisionFor(readStatus(Buffer.from(xml)), 'stanza1', 'stanza2')).toMatchObject({ error: notAllowed });
  });

  it('has the second stanza sent to the recipient', () => {
    const message = '<message><body>mallory wrote to you</body></message>';
    expect(decided('<stanza1><error/></stanza1>', `<stanza2>${message}</stanza2>`).notify).toBe(message);
  });

  it('spells an empty error out for the recipient', () => {
    expect(decided('', '<stanza2><error/></stanza2>').notify).toContain('<not-allowed xmlns=');
  });

  it('takes any bytes for a status or for a bad answer, and for nothing else', () => {
    const parts = fc.constantFrom(
      '<status value="denied">',
      '</status>',
      '<stanza1>',
      '</stanza1>',
      '<error/>',
      '<noop/>',
      '&#0;',
      ']]>',
      '<?xml?>',
      '\ud800',
      'x',
    );
    const texts = fc.oneof(
      fc.array(parts).map((list) => list.join('')),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          texts.map((text) => Buffer.from(text)),
          fc.uint8Array(),
        ),
        (body) => {
          try {
            expect(['allow', 'deny', 'drop']).toContain(decisionFor(readStatus(body), 'stanza1', 'stanza2').verdict);
          } catch (error) {
            expect(error).toBeInstanceOf(SourceUnavailable);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
