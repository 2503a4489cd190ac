/** What every source that is asked over HTTP can be told about its calls, with the defaults and what each bounds. */
import { z } from 'zod';
import { callOptions, connections } from './call-options.ts';
import { addressProblem, templateProblem } from './uri-template.ts';

/** Printable, as RFC 9110 section 5.5 wants it: a line break would begin a header of its own. */
const headerValue = z
  .string()
  .regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'must be one line of printable characters, without a line break at its end');

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Made by the call itself, or meant for one connection only. */
const reservedHeaders = new Set([
  'host',
  'content-length',
  'content-type',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'expect',
  'te',
  'trailer',
  'traceparent',
]);

const headers = z.record(z.string(), headerValue).check((context) => {
  for (const name of Object.keys(context.value)) {
    const problem = headerProblem(name);
    if (problem !== undefined) context.issues.push({ code: 'custom', message: problem, path: [name], input: name });
  }
});

function headerProblem(name: string): string | undefined {
  if (!token.test(name)) return 'is no name of a header; letters, digits and - are';
  if (reservedHeaders.has(name.toLowerCase())) return 'is set by the call itself and cannot be configured';
  if (name.toLowerCase() === 'authorization') return 'has an option of its own: authorization_header';
  return undefined;
}

export const httpOptions = {
  ...callOptions,
  connections: connections(32),
  headers: headers.default({}),
  authorization_header: headerValue.optional(),
  insecure: z.boolean().default(false),
  ca_file: z.string().min(1).optional(),
};

export type HttpOptions = z.output<z.ZodObject<typeof httpOptions>>;

/** Options that contradict each other, as issues on the one that has to go. */
export function checkHttpOptions(context: z.core.ParsePayload<Pick<HttpOptions, 'insecure' | 'ca_file'>>): void {
  const { insecure, ca_file } = context.value;
  if (!insecure || ca_file === undefined) return;
  const message = 'contradicts ca_file: verification is either off or done with that file';
  context.issues.push({ code: 'custom', message, path: ['insecure'], input: insecure });
}

/** A fixed address. */
export const httpUrl = z
  .string('must be a URL such as https://policy.example.org/check')
  .check((context) => addIssue(context, addressProblem(context.value) ?? bracesProblem(context.value)));

/** An RFC 6570 URI template with these variables. */
export function uriTemplate(variables: readonly string[]) {
  return z
    .string(`must be a URI template with the variables ${variables.join(', ')}`)
    .check((context) => addIssue(context, templateProblem(context.value, variables)));
}

function bracesProblem(url: string): string | undefined {
  return /[{}]/.test(url) ? 'is no template: encode braces as %7B and %7D' : undefined;
}

function addIssue(context: z.core.ParsePayload<string>, message: string | undefined): void {
  if (message !== undefined) context.issues.push({ code: 'custom', message, input: context.value });
}
