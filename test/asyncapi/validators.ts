/** Checks payloads against the schemas of the protocol's document. */
import { Ajv } from 'ajv';
import type { ValidateFunction } from 'ajv';
import { messages, schemas } from '../../src/asyncapi/messages.ts';

const ajv = new Ajv({ allErrors: true, allowUnionTypes: true });
const payloads = new Map<string, ValidateFunction>(
  Object.entries(schemas()).map(([name, schema]) => [name, ajv.compile(schema)]),
);
const headers = new Map<string, ValidateFunction>(
  Object.entries(messages()).flatMap(([name, message]) =>
    'headers' in message ? [[name, ajv.compile(message.headers as object)]] : [],
  ),
);

/** What is wrong with a payload by the schema of that name; empty when nothing is. */
export function problemsOf(name: string, payload: unknown): string[] {
  return problems(payloads.get(name), name, payload);
}

/** The same for the headers of the message of that name, each with its last value. */
export function headerProblemsOf(name: string, values: Readonly<Record<string, string | undefined>>): string[] {
  return problems(headers.get(name), name, values);
}

function problems(validate: ValidateFunction | undefined, name: string, value: unknown): string[] {
  if (validate === undefined) throw new Error(`the document has nothing to say of ${name}`);
  validate(value);
  return (validate.errors ?? []).map(({ instancePath, message = '' }) => `${instancePath} ${message}`);
}
