/** From the body of an answer to a checked value: what is no JSON, or not of the right types, is a bad answer. */
import type { z } from 'zod';
import { validate } from '../config/issues.ts';
import { pathText } from '../config/problems.ts';
import { decodeJson } from '../wire/json.ts';
import { MalformedPayload } from '../wire/malformed.ts';
import { SourceUnavailable } from './source.ts';

/** Enough to find the mistake; a roster of ten thousand contacts may have as many. */
const maxProblemsNamed = 3;

/** The log may show what an answer held. */
const noSecrets: ReadonlySet<string> = new Set();

/** Reads an object. Duplicate keys are refused, as of two verdicts neither is the answer. @throws SourceUnavailable */
export function readJsonObject(body: Uint8Array): Record<string, unknown> {
  try {
    return decodeJson(body);
  } catch (error) {
    if (!(error instanceof MalformedPayload)) throw error;
    throw new SourceUnavailable('bad-answer', `the answer is no JSON object: ${error.message}`, { cause: error });
  }
}

/** Reads what a schema accepts. @throws SourceUnavailable */
export function readJson<T extends z.ZodType>(schema: T, body: Uint8Array): z.output<T> {
  return checked(schema, readJsonObject(body));
}

/** A value of the schema; `under` is where in the answer it stands. @throws SourceUnavailable */
export function checked<T extends z.ZodType>(schema: T, value: unknown, under: PropertyKey[] = []): z.output<T> {
  const validated = validate(schema, value, noSecrets);
  if ('data' in validated) return validated.data;
  const { problems } = validated;
  const named = problems.slice(0, maxProblemsNamed).map(({ keys, message }) => {
    const path = pathText([...under, ...keys]);
    return path === '' ? message : `${path} ${message}`;
  });
  const more = problems.length > named.length ? ` and ${problems.length - named.length} more` : '';
  throw new SourceUnavailable('bad-answer', `the answer cannot be used: ${named.join('; ')}${more}`);
}
