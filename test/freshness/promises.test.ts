import { describe, expect, it } from 'vitest';
import type { MadeChange } from './changer.ts';
import { Promises } from './promises.ts';

const second = 1_000_000;

function change(fields: Partial<MadeChange> = {}): MadeChange {
  return {
    version: 7,
    scope: 'jid u3@d0.test',
    sequence: 100,
    acknowledgedAtUs: 10 * second,
    reachedAtUs: undefined,
    ...fields,
  };
}

const told = { by: 'asker', question: 's3.4', askedAtUs: 0, seen: 0, version: 6 };

describe('the checker', () => {
  it('accepts an older answer from who had not seen the change, within the bound', () => {
    const promises = new Promises([change()], 2_000);
    expect(promises.violationOf({ ...told, seen: 99, askedAtUs: 12 * second })).toBeUndefined();
  });

  it('refuses an older answer to who had seen the change', () => {
    const promises = new Promises([change()], 2_000);
    expect(promises.violationOf({ ...told, seen: 100 })).toMatchObject({ promised: 'seen', wanted: { version: 7 } });
    expect(promises.violationOf({ ...told, seen: 100, version: 7 })).toBeUndefined();
  });

  it('refuses an older answer to who asked later than the bound, whatever he had seen', () => {
    const promises = new Promises([change()], 2_000);
    expect(promises.violationOf({ ...told, askedAtUs: 12 * second + 1 })).toMatchObject({ promised: 'bound' });
  });

  it('refuses an older answer after a flush that waited has returned', () => {
    const promises = new Promises([change({ reachedAtUs: 11 * second })], 2_000);
    expect(promises.violationOf({ ...told, askedAtUs: 11 * second })).toBeUndefined();
    expect(promises.violationOf({ ...told, askedAtUs: 11 * second + 1 })).toMatchObject({ promised: 'flush --wait' });
  });

  it('looks at every scope that ends the decision and at no other', () => {
    const scopes = [
      'all',
      'operation stanza-check',
      'jid u3@d0.test',
      'jid u4@d1.test',
      'domain d0.test',
      'domain d1.test',
    ];
    for (const scope of scopes) {
      expect(new Promises([change({ scope })], 2_000).violationOf({ ...told, seen: 100 })).toBeDefined();
    }
    for (const scope of ['operation join-check', 'jid u5@d2.test', 'domain d2.test', 'jid r4@rooms1.test']) {
      expect(new Promises([change({ scope })], 2_000).violationOf({ ...told, seen: 100 })).toBeUndefined();
    }
    const join = { ...told, question: 'j3.4', seen: 100 };
    expect(new Promises([change({ scope: 'jid r4@rooms1.test' })], 2_000).violationOf(join)).toBeDefined();
    expect(new Promises([change({ scope: 'domain rooms1.test' })], 2_000).violationOf(join)).toBeDefined();
  });

  it('takes the newest of several changes, in whatever order they were acknowledged', () => {
    const made = [change({ version: 9, sequence: 90 }), change({ version: 8, sequence: 95 })];
    const promises = new Promises(made, 2_000);
    expect(promises.violationOf({ ...told, seen: 95, version: 8 })).toMatchObject({ wanted: { version: 9 } });
  });
});
