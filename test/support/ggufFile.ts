/** One metadata value with its GGUF type. */
export type GgufEntry =
  | readonly ["string" | "u32" | "i32" | "f32" | "u64" | "bool", string | number | bigint | boolean]
  | readonly ["strings", readonly string[]]
  | readonly ["i32s" | "f32s" | "u8s", readonly number[]]
  /** Any type with any bytes behind it, also wrong ones. */
  | readonly ["raw", { type: number; bytes: readonly number[] }];

export interface GgufTensorEntry {
  name: string;
  /** Innermost first, as the format has it. */
  dimensions: readonly (number | bigint)[];
  type: number;
  offset: number | bigint;
}

/** A GGUF file in memory. `data` is what follows the header at its alignment of 32. */
export function ggufFile(
  metadata: Readonly<Record<string, GgufEntry>> | readonly (readonly [key: string, entry: GgufEntry])[],
  tensors: readonly GgufTensorEntry[] = [],
  data: Uint8Array = new Uint8Array(),
): Uint8Array {
  const out = new ByteWriter();
  out.ascii("GGUF");
  out.u32(3);
  out.u64(tensors.length);
  const entries = isList(metadata) ? metadata : Object.entries(metadata);
  out.u64(entries.length);
  for (const [key, entry] of entries) {
    out.text(key);
    writeEntry(out, entry);
  }
  for (const { name, dimensions, type, offset } of tensors) {
    out.text(name);
    out.u32(dimensions.length);
    for (const dimension of dimensions) out.u64(dimension);
    out.u32(type);
    out.u64(offset);
  }
  if (tensors.length > 0) while (out.bytes.length % 32 !== 0) out.bytes.push(0);
  return Uint8Array.from([...out.bytes, ...data]);
}

function isList(metadata: Parameters<typeof ggufFile>[0]): metadata is readonly (readonly [string, GgufEntry])[] {
  return Array.isArray(metadata);
}

/** Writes numbers as GGUF has them: little-endian, strings with a u64 length. */
class ByteWriter {
  readonly bytes: number[] = [];

  ascii(text: string): void {
    for (const char of text) this.bytes.push(char.charCodeAt(0));
  }

  text(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.u64(bytes.length);
    for (const byte of bytes) this.bytes.push(byte);
  }

  u32(value: number): void {
    this.put(4, (view) => view.setUint32(0, value >>> 0, true));
  }

  f32(value: number): void {
    this.put(4, (view) => view.setFloat32(0, value, true));
  }

  u64(value: number | bigint): void {
    this.put(8, (view) => view.setBigUint64(0, BigInt(value), true));
  }

  private put(width: number, set: (view: DataView) => void): void {
    const view = new DataView(new ArrayBuffer(width));
    set(view);
    for (let i = 0; i < width; i++) this.bytes.push(view.getUint8(i));
  }
}

function writeEntry(out: ByteWriter, entry: GgufEntry): void {
  const [kind, value] = entry;
  switch (kind) {
    case "strings":
      out.u32(9);
      out.u32(8);
      out.u64(value.length);
      for (const text of value) out.text(text);
      return;
    case "i32s":
    case "f32s":
    case "u8s":
      out.u32(9);
      out.u32({ i32s: 5, f32s: 6, u8s: 0 }[kind]);
      out.u64(value.length);
      for (const number of value) {
        if (kind === "u8s") out.bytes.push(number);
        else if (kind === "i32s") out.u32(number);
        else out.f32(number);
      }
      return;
    case "raw":
      out.u32(value.type);
      for (const byte of value.bytes) out.bytes.push(byte);
      return;
    case "string":
      out.u32(8);
      out.text(String(value));
      return;
    case "u32":
    case "i32":
      out.u32(kind === "u32" ? 4 : 5);
      out.u32(Number(value));
      return;
    case "f32":
      out.u32(6);
      out.f32(Number(value));
      return;
    case "u64":
      out.u32(10);
      out.u64(BigInt(value));
      return;
    case "bool":
      out.u32(7);
      out.bytes.push(value === true ? 1 : 0);
  }
}
