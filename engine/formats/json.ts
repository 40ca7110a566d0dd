import { EngineError, type ErrorCode } from "../errors.ts";

export type JsonRecord = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** JSON text as a value; throws `code` naming `where` when it is not JSON. */
export function parseJson(text: string, where: string, code: ErrorCode, remedy: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EngineError(code, `${where} is not JSON: ${why}`, remedy, { file: where });
  }
}

/** A value in an error message: short, and on one line. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/**
 * Typed reading of one JSON object. `null` counts as absent, as it does in Hugging Face configs.
 * Every reading is remembered, so that keys nobody read can be refused (`unreadKeys`).
 */
export class JsonFields {
  private readonly read = new Set<string>();

  constructor(
    private readonly record: JsonRecord,
    private readonly where: string,
    private readonly code: ErrorCode,
    private readonly remedy: string,
  ) {}

  value(key: string): unknown {
    this.read.add(key);
    return this.record[key] ?? undefined;
  }

  number(key: string, fallback?: number): number {
    const value = this.value(key) ?? fallback;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw this.wrong(key, "a number", value);
  }

  optionalNumber(key: string): number | undefined {
    return this.value(key) === undefined ? undefined : this.number(key);
  }

  positiveInteger(key: string, fallback?: number): number {
    const value = this.value(key) ?? fallback;
    if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
    throw this.wrong(key, "a positive integer", value);
  }

  tokenId(key: string): number | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
    throw this.wrong(key, "a token id", value);
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.value(key) ?? fallback;
    if (typeof value === "boolean") return value;
    throw this.wrong(key, "true or false", value);
  }

  string(key: string, fallback?: string): string {
    const value = this.value(key) ?? fallback;
    if (typeof value === "string") return value;
    throw this.wrong(key, "a string", value);
  }

  numbers(key: string): number[] {
    const value = this.value(key);
    if (Array.isArray(value) && value.every((item): item is number => typeof item === "number")) return value;
    throw this.wrong(key, "a list of numbers", value);
  }

  unreadKeys(): string[] {
    return Object.keys(this.record).filter((key) => !this.read.has(key));
  }

  private wrong(key: string, wanted: string, found: unknown): EngineError {
    const state = found === undefined ? "is missing" : `is ${shown(found)}`;
    return new EngineError(this.code, `${this.where}: ${key} ${state} and must be ${wanted}`, this.remedy, { key });
  }
}
