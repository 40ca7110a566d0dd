/**
 * Protocol buffers read from a file by range: fields are visited one by one, and what a field holds is only read when it is asked
 * for, so that gigabytes of tensor data between small fields are stepped over. Every length is checked against its message first.
 */
import type { ByteSource } from "../api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";

/** One field of a message; `value` of a number, [start, end) in the file of anything that has a length. */
export interface ProtoField {
  readonly number: number;
  readonly value: bigint;
  readonly start: number;
  readonly end: number;
}

const WINDOW_BYTES = 2 ** 16;
const MAX_TEXT_BYTES = 2 ** 16;
const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

export class ProtoFile {
  private window: Uint8Array = new Uint8Array();
  private windowStart = 0;
  private readonly utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(
    readonly source: ByteSource,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** The fields of the message at [start, end), in the order of the file. */
  async *fields(start: number, end: number): AsyncGenerator<ProtoField> {
    for (let at = start; at < end;) {
      const tag = await this.varint(at, end);
      at = tag.next;
      const number = Number(tag.value >> 3n);
      if (number < 1 || number > 2 ** 29) throw this.damaged(`has a field of number ${number} at byte ${at}`);
      const wire = Number(tag.value & 7n);
      if (wire === VARINT) {
        const { value, next } = await this.varint(at, end);
        yield { number, value, start: at, end: next };
        at = next;
        continue;
      }
      let length: number;
      if (wire === FIXED64) length = 8;
      else if (wire === FIXED32) length = 4;
      else if (wire === LENGTH) {
        const { value, next } = await this.varint(at, end);
        at = next;
        if (value > BigInt(end - at)) throw this.damaged(`has a field of ${value} bytes in a message of ${end - start}`);
        length = Number(value);
      } else throw this.damaged(`has a field of the unknown kind ${wire} at byte ${at}`);
      if (at + length > end) throw this.damaged(`has a field that ends behind its message at byte ${end}`);
      yield { number, value: 0n, start: at, end: at + length };
      at += length;
    }
  }

  /** The text of a field; at most 64 KiB. */
  async text({ start, end }: ProtoField): Promise<string> {
    if (end - start > MAX_TEXT_BYTES) throw this.damaged(`has a name of ${end - start} bytes`);
    await this.load(start, end);
    return this.utf8.decode(this.window.subarray(start - this.windowStart, end - this.windowStart));
  }

  /** The numbers of a repeated field, which stand alone or packed. */
  async numbers(field: ProtoField, most: number): Promise<bigint[]> {
    if (field.value !== 0n) return [field.value];
    const values: bigint[] = [];
    for (let at = field.start; at < field.end;) {
      if (values.length === most) throw this.damaged(`has a list of more than ${most} numbers`);
      const { value, next } = await this.varint(at, field.end);
      values.push(value);
      at = next;
    }
    return values;
  }

  damaged(what: string): EngineError {
    const remedy = "download the file again; this copy is damaged or incomplete";
    return new EngineError("bad-weights", `${this.source.name} ${what}`, remedy, { file: this.source.name });
  }

  /** Seven bits a byte, lowest first; negative numbers are 64 bits. */
  private async varint(start: number, end: number): Promise<{ value: bigint; next: number }> {
    await this.load(start, Math.min(end, start + 10));
    let value = 0n;
    for (let i = 0; i < 10 && start + i < end; i++) {
      const byte = this.window[start + i - this.windowStart];
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return { value: BigInt.asUintN(64, value), next: start + i + 1 };
    }
    throw this.damaged(`has a number without end at byte ${start}`);
  }

  /** Makes [start, end) part of the window. */
  private async load(start: number, end: number): Promise<void> {
    if (start >= this.windowStart && end <= this.windowStart + this.window.length) return;
    throwIfAborted(this.signal);
    const length = Math.min(Math.max(end - start, WINDOW_BYTES), this.source.size - start);
    if (end - start > length) throw this.damaged(`ends before byte ${end}`);
    this.window = await this.source.read(start, length, this.signal);
    this.windowStart = start;
  }
}
