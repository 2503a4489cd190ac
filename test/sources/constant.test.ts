import { describe, expect, it } from 'vitest';
import { constantNames, operationsOfConstants } from '../../src/config/sources.ts';
import { createConstantSources } from '../../src/sources/constant.ts';
import { contactChange, joinQuestion, sessionQuestion, stanzaQuestion, subscriptionChange } from '../questions.ts';
import { patient } from './context.ts';

describe.each([...constantNames])('the source %s', (verdict) => {
  const source = createConstantSources().get(verdict);

  it('answers every question with its name, for no more than who was asked about', async () => {
    const questions = [stanzaQuestion(), joinQuestion(), sessionQuestion()];
    const answers = await Promise.all(questions.map(async (question) => source?.decide?.(question, patient)));
    expect(answers).toMatchObject(['pair', 'room', 'sender'].map((scope) => ({ decision: { verdict }, scope })));
    for (const change of [contactChange(), subscriptionChange()]) {
      expect(await source?.rosterChange?.(change, patient)).toMatchObject({ verdict });
    }
    expect(operationsOfConstants).toHaveLength(questions.length + 2);
  });

  it('is called by its name, holds nothing, and ends without ado', async () => {
    expect(source).toMatchObject({ name: verdict, type: 'constant', isConstant: true });
    await source?.stop();
  });
});
