import { describe, expect, it } from 'vitest';
import { stanzaConditions, stanzaErrorTypes } from '../../src/wire/replies.ts';
import { readStanzaError } from '../../src/wire/stanza-error.ts';
import { parseXml } from '../../src/wire/xml.ts';

const ns = 'xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"';
const read = (xml: string) => readStanzaError(parseXml(xml));

describe('a stanza error', () => {
  it('is read with each type and each defined condition', () => {
    for (const type of stanzaErrorTypes) {
      for (const condition of Object.keys(stanzaConditions)) {
        expect(read(`<error type="${type}"><${condition} ${ns}/></error>`)).toEqual({ type, condition });
      }
    }
  });

  it('is read with its text, in whatever namespace it stands, with a condition of the application beside', () => {
    expect(
      read(`<error xmlns="jabber:client" by="x" type="wait"><resource-constraint ${ns}/><text ${ns} xml:lang="de">sp&#228;ter</text>
        <too-many xmlns="urn:x"/></error>`),
    ).toEqual({ type: 'wait', condition: 'resource-constraint', text: 'später' });
    expect(read(`<p:error xmlns:p="u" xmlns:s=${ns.slice(6)} type="auth"><s:forbidden/></p:error>`)).toEqual({
      type: 'auth',
      condition: 'forbidden',
    });
    expect(read(`<error type="modify"><redirect ${ns}>xmpp:a@b</redirect><text ${ns}/></error>`)).toEqual({
      type: 'modify',
      condition: 'redirect',
    });
  });

  it.each([
    ['another element', `<fault type="auth"><forbidden ${ns}/></fault>`],
    ['no type', `<error><forbidden ${ns}/></error>`],
    ['an unknown type', `<error type="fatal"><forbidden ${ns}/></error>`],
    ['no condition', '<error type="auth"/>'],
    ['only a text', `<error type="auth"><text ${ns}>no</text></error>`],
    ['an unknown condition', `<error type="auth"><nope ${ns}/></error>`],
    ['a condition named like a property of every object', `<error type="auth"><toString ${ns}/></error>`],
    ['a condition of no namespace', '<error type="auth"><forbidden/></error>'],
    ['a condition of another namespace', '<error type="auth"><forbidden xmlns="urn:x"/></error>'],
    ['two conditions', `<error type="auth"><forbidden ${ns}/><gone ${ns}/></error>`],
  ])('is not what has %s', (_, xml) => expect(read(xml)).toBeUndefined());
});
