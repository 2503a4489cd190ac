/**
 * RFC 6570 URI templates as an operator may write them: which variables there are, and what is refused because a JID
 * could then change the address instead of standing in it. Expansion itself is the library's.
 */

const expression = /\{([^{}]*)\}/g;
const name = /^[A-Za-z][A-Za-z0-9_]*$/;

/** The names of the variables in a template, in order. */
export function variablesOf(template: string): string[] {
  return [...template.matchAll(expression)].flatMap((match) => (match[1] ?? '').replace(/^[./;?&]/, '').split(','));
}

/** The part of a URL that names the server: `https://host:port`. */
export function originOf(url: string): string {
  const origin = /^https?:\/\/[^/?#{}]*/i.exec(url)?.[0] ?? '';
  return new URL(origin).origin;
}

/** What is wrong with a template that may use these variables; undefined when nothing is. */
export function templateProblem(template: string, variables: readonly string[]): string | undefined {
  const address = addressProblem(template);
  if (address !== undefined) return address;
  for (const [, content = ''] of template.matchAll(expression)) {
    const problem = expressionProblem(content, variables);
    if (problem !== undefined) return problem;
  }
  return /[{}]/.test(template.replace(expression, '')) ? 'has a brace without its partner' : undefined;
}

function expressionProblem(content: string, variables: readonly string[]): string | undefined {
  if (/^[+#]/.test(content)) {
    return `{${content}} would put a JID into the URL without encoding it; write {${content.slice(1)}}`;
  }
  for (const variable of content.replace(/^[./;?&]/, '').split(',')) {
    if (/[:*]/.test(variable)) return `{${content}} cuts or explodes its value; write the whole variable`;
    if (!name.test(variable) || !variables.includes(variable)) {
      return `has no variable ${JSON.stringify(variable)}; there are ${variables.join(', ')}`;
    }
  }
  return undefined;
}

/** What is wrong with the address of a server, whatever follows it; undefined when nothing is. */
export function addressProblem(url: string): string | undefined {
  const match = /^https?:\/\/([^/?#{}]*)(.?.?)/i.exec(url);
  const [, authority = '', next = ''] = match ?? [];
  if (/^\{[^/?]/.test(next)) return 'has a variable in its host; the host must be fixed';
  if (match === null || authority === '') return 'must be a URL such as https://policy.example.org/check';
  if (authority.includes('@')) return 'holds a user or password; put it into authorization_header';
  if (!URL.canParse(`http://${authority}`)) return `has no valid host: ${JSON.stringify(authority)}`;
  if (/#/.test(url)) return 'has a fragment (#…), which is never sent; encode it as %23 if it belongs to the path';
  if (/[\s\p{Cc}]/u.test(url)) return 'has white space in it; encode it as %20';
  return undefined;
}
