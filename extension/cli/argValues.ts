/** Values of options as they are written; what cannot be read throws UsageError. */
import { type Named, UsageError, usages } from "./usages.ts";

export function oneOf<Value extends string>(name: Named, option: string, given: string, known: readonly Value[]): Value {
  const found = known.find((value) => value === given);
  if (found !== undefined) return found;
  throw new UsageError(`${option} is "${given}", not one of ${known.join(", ")}`, usages[name]);
}

export interface Range {
  from?: number;
  above?: number;
  to?: number;
  whole?: boolean;
}

export function readNumber(name: Named, option: string, text: string, { from, above, to, whole }: Range): number {
  const value = text === "" ? NaN : Number(text);
  const fits =
    (from === undefined || value >= from) && (above === undefined || value > above) && (to === undefined || value <= to);
  if (Number.isFinite(value) && fits && (!whole || Number.isSafeInteger(value))) return value;
  const wanted = [
    whole ? "a whole number" : "a number",
    ...(from === undefined ? [] : [`from ${from}`]),
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(to === undefined ? [] : [`up to ${to}`]),
  ];
  throw new UsageError(`${option} has "${text}", not ${wanted.join(" ")}`, usages[name]);
}

const units: Readonly<Record<string, number>> = {
  ...{ "": 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12 },
  ...{ kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 },
};

/** Bytes of "16GB", "7.5 GiB" or "8000000000". */
export function readSize(name: Named, option: string, text: string): number {
  const [, digits = "", unit = ""] = /^\s*([\d.]+)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const bytes = digits === "" ? NaN : Number(digits) * (units[unit.toLowerCase()] ?? NaN);
  if (bytes > 0) return Math.floor(bytes);
  throw new UsageError(`${option} has "${text}", not a size such as 16GB or 8GiB`, usages[name]);
}
