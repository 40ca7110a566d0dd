import type { ByteSource, ModelFiles } from "../../engine/api.ts";

/** A model folder in memory: names to texts or bytes. `reads` counts the bytes of every read. */
export function memoryFiles(content: Readonly<Record<string, string | Uint8Array>>, reads: number[] = []): ModelFiles {
  return {
    label: "test model",
    text: async (name) => {
      const found = content[name];
      return found instanceof Uint8Array ? new TextDecoder().decode(found) : found;
    },
    open: async (name) => {
      const found = content[name];
      if (found === undefined) return undefined;
      return byteSource(name, found instanceof Uint8Array ? found : new TextEncoder().encode(found), reads);
    },
  };
}

/** A safetensors file of f32 tensors; `change` may spoil its header before it is written. */
export function safetensorsFile(
  tensors: Readonly<Record<string, { shape: readonly number[]; values: ArrayLike<number> }>>,
  change: (header: Record<string, unknown>) => unknown = (header) => header,
): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  const data: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    const bytes = new Uint8Array(Float32Array.from(values).buffer);
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + bytes.length] };
    data.push(bytes);
    offset += bytes.length;
  }
  return withHeader(JSON.stringify(change(header)), ...data);
}

/** A safetensors file of tensors in any dtype. */
export function typedSafetensors(
  tensors: Readonly<Record<string, { dtype: string; shape: readonly number[]; bytes: Uint8Array }>>,
): Uint8Array {
  let offset = 0;
  const entries = Object.entries(tensors).map(([name, { dtype, shape, bytes }]) => {
    const begin = offset;
    offset += bytes.length;
    return [name, { dtype, shape, data_offsets: [begin, offset] }];
  });
  return withHeader(JSON.stringify(Object.fromEntries(entries)), ...Object.values(tensors).map(({ bytes }) => bytes));
}

/** Header text and data as a safetensors file. */
export function withHeader(header: string, ...data: Uint8Array[]): Uint8Array {
  const text = new TextEncoder().encode(header);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
  return Uint8Array.from([length, text, ...data].flatMap((part) => [...part]));
}

function byteSource(name: string, bytes: Uint8Array, reads: number[]): ByteSource {
  return {
    name,
    size: bytes.length,
    read: async (offset, length) => {
      if (offset < 0 || offset + length > bytes.length)
        throw new Error(`read of ${length} bytes at ${offset} of ${bytes.length}`);
      reads.push(length);
      return Uint8Array.from(bytes.subarray(offset, offset + length));
    },
  };
}
