/** Numbers for people who look at many of them: short, with their units, and a dash where there is nothing to say. */
import { durationWords } from './explain-decision.ts';

export const dash = '-';

/** `1,204/s`, `0.4/s`. */
export function rate(perSecond: number | null): string {
  if (perSecond === null) return dash;
  if (perSecond >= 9.95) return `${Math.round(perSecond).toLocaleString('en')}/s`;
  return perSecond > 0 && perSecond < 0.05 ? '<0.1/s' : `${Number(perSecond.toFixed(1))}/s`;
}

/** `97 %`. All and nothing are only what is exactly that. */
export function percent(part: number | null): string {
  if (part === null) return dash;
  const rounded = Math.round(part * 100);
  if (rounded === 100 && part < 1) return '>99 %';
  return rounded === 0 && part > 0 ? '<1 %' : `${rounded} %`;
}

export function time(ms: number | null): string {
  return ms === null ? dash : durationWords(ms);
}

export function count(number: number | null): string {
  return number === null ? dash : number.toLocaleString('en');
}

/** Names of hosts differ at both of their ends. */
export function cutInTheMiddle(text: string, length: number): string {
  if (text.length <= length) return text;
  const head = Math.ceil((length - 1) / 2);
  return `${text.slice(0, head)}…${text.slice(text.length - (length - 1 - head))}`;
}
