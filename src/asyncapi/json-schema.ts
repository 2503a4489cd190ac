/** From a schema in the code to JSON Schema draft 7, the dialect of AsyncAPI. Knows nothing of what the schemas say. */
import { z } from 'zod';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** What a payload may be before it is read: absent and nil mean the same on the wire, so whatever may be absent may be null. */
export function jsonSchemaOf(type: z.ZodType): JsonSchema {
  const { $schema: _dialect, ...schema } = z.toJSONSchema(type, {
    target: 'draft-7',
    io: 'input',
    override: ({ jsonSchema }) => foldNull(jsonSchema),
  });
  return schema;
}

/** `anyOf` of something and null is what zod writes; a list of types says the same and is what people read with ease. */
function foldNull(schema: Record<string, unknown>): void {
  const { anyOf } = schema;
  if (!Array.isArray(anyOf) || anyOf.length !== 2) return;
  const [inner, nothing] = anyOf as [Record<string, unknown>, Record<string, unknown>];
  if (nothing['type'] !== 'null' || typeof inner['type'] !== 'string') return;
  delete schema['anyOf'];
  const description = schema['description'] ?? inner['description'];
  Object.assign(schema, inner, { type: [inner['type'], 'null'] }, description === undefined ? {} : { description });
  if (Array.isArray(inner['enum'])) schema['enum'] = [...(inner['enum'] as unknown[]), null];
}
