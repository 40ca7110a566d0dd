import { EngineError } from "../errors.ts";
import type { GgufValue } from "../formats/gguf.ts";

/** The keys of one architecture ("llama.block_count" is key "block_count"), read with their types checked; `file` is for messages. */
export class GgufFields {
  constructor(
    private readonly metadata: ReadonlyMap<string, GgufValue>,
    readonly file: string,
    private readonly architecture: string,
  ) {}

  has(key: string): boolean {
    return this.value(key) !== undefined;
  }

  /** A number as it was before it became an f32: the shortest decimal that does. */
  number(key: string, fallback?: number): number {
    const value = this.value(key) ?? fallback;
    if (typeof value === "number" && Number.isFinite(value)) return asWritten(value);
    throw this.wrong(key, "a number", value);
  }

  optionalNumber(key: string): number | undefined {
    return this.has(key) ? this.number(key) : undefined;
  }

  /** A whole number from 0; a list with one per layer must hold the same one for all. */
  count(key: string, fallback?: number): number {
    const value = this.value(key) ?? fallback;
    const numbers: ArrayLike<unknown> = isNumbers(value) && value.length > 0 ? value : [value];
    const first = numbers[0];
    if (typeof first !== "number" || !Number.isSafeInteger(first) || first < 0) throw this.wrong(key, "a whole number", value);
    for (let i = 1; i < numbers.length; i++) {
      if (numbers[i] !== first) throw unsupported(this.file, `${this.keyOf(key)} differs between layers`);
    }
    return first;
  }

  optionalCount(key: string): number | undefined {
    return this.has(key) ? this.count(key) : undefined;
  }

  text(key: string, fallback: string): string {
    const value = this.value(key) ?? fallback;
    if (typeof value === "string") return value;
    throw this.wrong(key, "a text", value);
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.value(key) ?? fallback;
    if (typeof value === "boolean") return value;
    throw this.wrong(key, "true or false", value);
  }

  value(key: string): GgufValue | undefined {
    return this.metadata.get(this.keyOf(key));
  }

  private keyOf(key: string): string {
    return `${this.architecture}.${key}`;
  }

  private wrong(key: string, wanted: string, found: GgufValue | undefined): EngineError {
    const state = found === undefined ? "is missing" : `is ${shownValue(found)}`;
    const message = `${this.file}: ${this.keyOf(key)} ${state} and must be ${wanted}`;
    return new EngineError("unsupported-model", message, REMEDY, { file: this.file, key: this.keyOf(key) });
  }
}

const REMEDY = "convert the model again with a current llama.cpp, or choose another GGUF file of it";

export function unsupported(file: string, what: string, remedy = REMEDY): EngineError {
  return new EngineError("unsupported-model", `${file}: ${what}`, remedy, { file });
}

function isNumbers(value: GgufValue | undefined): value is Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer> {
  return value instanceof Uint32Array || value instanceof Int32Array;
}

function shownValue(value: GgufValue): string {
  return typeof value === "object" ? `a list of ${value.length}` : String(value).slice(0, 60);
}

/** GGUF holds 1e-5 as the f32 0.000009999999747378752; Hugging Face's number is the shortest that rounds to the same f32. */
export function asWritten(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 1; digits <= 9; digits++) {
    const decimal = Number(value.toPrecision(digits));
    if (Math.fround(decimal) === value) return decimal;
  }
  return value;
}
