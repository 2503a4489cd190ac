/** Numbers in the units of the dashboards, as short as a person reads them. */

const written: Readonly<Record<string, (value: number) => string>> = {
  percentunit: (value) => `${short(value * 100)} %`,
  reqps: (value) => `${short(value)} req/s`,
  cps: (value) => `${short(value)} /s`,
  s: (value) =>
    value === 0
      ? '0 s'
      : value < 0.001
        ? `${short(value * 1e6)} µs`
        : value < 1
          ? `${short(value * 1e3)} ms`
          : `${short(value)} s`,
  bytes: (value) => `${short(value / 2 ** 20)} MiB`,
};

export function inUnit(value: number, unit: string): string {
  return (written[unit] ?? short)(value);
}

/** Three digits, and thousands as K. */
function short(value: number): string {
  if (Math.abs(value) >= 1_000_000) return `${digits(value / 1_000_000)} M`;
  return Math.abs(value) >= 10_000 ? `${digits(value / 1_000)} K` : digits(value);
}

function digits(value: number): string {
  const size = Math.abs(value);
  const places = size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : 2;
  return String(Number(value.toFixed(places)));
}

/** The first even number of steps at or above the largest value: 1, 2, 2.5 or 5 times a power of ten, four to an axis. */
export function axisOf(largest: number): { readonly top: number; readonly step: number } {
  if (!(largest > 0)) return { top: 1, step: 0.25 };
  const least = largest / 4;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = ([1, 2, 2.5, 5, 10].find((one) => one * power >= least * 0.999) ?? 10) * power;
  return { top: step * Math.ceil((largest / step) * 0.999), step };
}
