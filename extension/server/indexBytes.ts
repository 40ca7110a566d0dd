/** Numbers and texts as bytes, for a file that only this program reads; the reader trusts nothing that it reads. */

export class ByteWriter {
  private buffer = Buffer.allocUnsafe(64 * 1024);
  private length = 0;

  /** A whole number of at least 0: seven bits a byte, lowest first. */
  count(value: number): void {
    this.room(8);
    let rest = value;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) this.buffer[this.length++] = (rest % 128) | 0x80;
    this.buffer[this.length++] = rest;
  }

  number(value: number): void {
    this.room(8);
    this.length = this.buffer.writeDoubleLE(value, this.length);
  }

  text(value: string): void {
    const bytes = Buffer.byteLength(value);
    this.count(bytes);
    this.room(bytes);
    this.length += this.buffer.write(value, this.length);
  }

  /** Bytes of a hexadecimal text of even length. */
  hex(value: string): void {
    this.room(value.length / 2);
    this.length += this.buffer.write(value, this.length, "hex");
  }

  bytes(value: Uint8Array): void {
    this.room(value.length);
    this.buffer.set(value, this.length);
    this.length += value.length;
  }

  take(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  private room(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    this.buffer = Buffer.concat([this.buffer], 2 * (this.length + bytes));
  }
}

/** Every method throws an Error in words where the bytes cannot be what was written. */
export class ByteReader {
  private readonly buffer: Buffer;
  private at = 0;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
  }

  get isAtEnd(): boolean {
    return this.at === this.buffer.length;
  }

  count(): number {
    let value = 0;
    for (let scale = 1; scale <= Number.MAX_SAFE_INTEGER; scale *= 128) {
      const byte = this.buffer[this.at++];
      if (byte === undefined) throw new Error("it ends too early");
      value += (byte & 0x7f) * scale;
      if (byte >= 0x80) continue;
      if (!Number.isSafeInteger(value)) break;
      return value;
    }
    throw new Error("a number is too large");
  }

  number(): number {
    const value = this.buffer.readDoubleLE(this.pass(8));
    if (!Number.isFinite(value)) throw new Error("a time is no number");
    return value;
  }

  text(): string {
    const bytes = this.count();
    const start = this.pass(bytes);
    return this.buffer.toString("utf8", start, start + bytes);
  }

  hex(bytes: number): string {
    const start = this.pass(bytes);
    return this.buffer.toString("hex", start, start + bytes);
  }

  /** Valid as long as the buffer is. */
  bytes(length: number): Uint8Array {
    const start = this.pass(length);
    return this.buffer.subarray(start, start + length);
  }

  /** Goes on behind so many bytes and returns where they begin: views of them would cost more than reading them. */
  private pass(length: number): number {
    const start = this.at;
    if (start + length > this.buffer.length) throw new Error("it ends too early");
    this.at = start + length;
    return start;
  }
}
