/** Checks payloads against the schemas of the protocol's document. */
import { Ajv } from 'ajv';
import type { ValidateFunction } from 'ajv';
import { schemas } from '../../src/asyncapi/messages.ts';

const ajv = new Ajv({ allErrors: true, allowUnionTypes: true });
const validators = new Map<string, ValidateFunction>(
  Object.entries(schemas()).map(([name, schema]) => [name, ajv.compile(schema)]),
);

/** What is wrong with a payload by the schema of that name; empty when nothing is. */
export function problemsOf(name: string, payload: unknown): string[] {
  const validate = validators.get(name);
  if (validate === undefined) throw new Error(`the document has no schema ${name}`);
  validate(payload);
  return (validate.errors ?? []).map(({ instancePath, message = '' }) => `${instancePath} ${message}`);
}
