/**
 * A rank's keys, or its values, on the device and on the wire. On the device they are a slab of the KV cache, [pages, G, PAGE_TOKENS, row];
 * on the wire the same without the rows of the last page that hold no token; in the middle of the ring [n, G, row].
 */
import { UPLOAD_BYTES, usage } from "../../gpu/buffers.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import { PAGE_TOKENS } from "../api.ts";

/** How many heads a token has, and the words of one head's row. */
export interface SlabShape {
  heads: number;
  words: number;
}

export function slabPages(tokens: number): number {
  return Math.ceil(tokens / PAGE_TOKENS);
}

export function pageBytes({ heads, words }: SlabShape): number {
  return 4 * heads * PAGE_TOKENS * words;
}

/** Ranges of a slab that hold tokens, in bytes, in the order of the wire. */
export function usedRanges(tokens: number, { heads, words }: SlabShape): readonly { at: number; bytes: number }[] {
  const whole = Math.floor(tokens / PAGE_TOKENS);
  const rest = tokens % PAGE_TOKENS;
  const ranges = [{ at: 0, bytes: whole * pageBytes({ heads, words }) }];
  for (let head = 0; head < heads; head++) {
    ranges.push({ at: 4 * (whole * heads + head) * PAGE_TOKENS * words, bytes: 4 * rest * words });
  }
  return ranges.filter(({ bytes }) => bytes > 0);
}

/** Copies what came over the wire into a slab. */
export function writeSlab(gpu: EngineDevice, slab: GPUBuffer, wire: ArrayBuffer, tokens: number, shape: SlabShape): void {
  let from = 0;
  for (const { at, bytes } of usedRanges(tokens, shape)) {
    for (let done = 0; done < bytes; done += UPLOAD_BYTES) {
      gpu.device.queue.writeBuffer(slab, at + done, wire, from + done, Math.min(UPLOAD_BYTES, bytes - done));
    }
    from += bytes;
  }
}

/** Reads ranges of buffers, each buffer's behind each other into one ArrayBuffer. */
export interface RangeReader {
  read(parts: readonly RangesOf[]): Promise<ArrayBuffer[]>;
}

export interface RangesOf {
  source: GPUBuffer;
  ranges: readonly { at: number; bytes: number }[];
}

/** All parts come through one mappable buffer, which grows to the largest read and is kept. */
export function openRangeReader(gpu: EngineDevice): RangeReader {
  let staging: GPUBuffer | undefined;
  return {
    async read(parts) {
      const sizes = parts.map(({ ranges }) => ranges.reduce((sum, { bytes }) => sum + bytes, 0));
      const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
      if (total === 0) return sizes.map(() => new ArrayBuffer(0));
      if (staging === undefined || staging.size < total) {
        staging?.destroy();
        staging = gpu.device.createBuffer({ label: "ring readback", size: total, usage: usage.mapRead | usage.copyTarget });
      }
      const encoder = gpu.device.createCommandEncoder();
      let to = 0;
      for (const { source, ranges } of parts) {
        for (const { at, bytes } of ranges) {
          encoder.copyBufferToBuffer(source, at, staging, to, bytes);
          to += bytes;
        }
      }
      gpu.device.queue.submit([encoder.finish()]);
      await gpu.settle(staging.mapAsync(1, 0, total));
      const mapped = staging.getMappedRange(0, total);
      let from = 0;
      const read = sizes.map((bytes) => mapped.slice(from, (from += bytes)));
      staging.unmap();
      return read;
    },
  };
}

/** Rows [n, G, row] of what came over the wire. */
export function rowsOfWire(wire: ArrayBuffer, tokens: number, { heads, words }: SlabShape): Uint32Array<ArrayBuffer> {
  const source = new Uint32Array(wire);
  if (heads === 1) return source;
  const rows = new Uint32Array(source.length);
  const whole = Math.floor(tokens / PAGE_TOKENS);
  for (let token = 0; token < tokens; token++) {
    const page = Math.floor(token / PAGE_TOKENS);
    const pageTokens = page < whole ? PAGE_TOKENS : tokens - whole * PAGE_TOKENS;
    for (let head = 0; head < heads; head++) {
      const from = (page * heads * PAGE_TOKENS + head * pageTokens + (token % PAGE_TOKENS)) * words;
      rows.set(source.subarray(from, from + words), (token * heads + head) * words);
    }
  }
  return rows;
}

/** One page of a slab, [G, PAGE_TOKENS, row], of rows [T, G, row]; places behind the last token are zeros. */
export function pageOfRows(rows: Uint32Array, page: number, { heads, words }: SlabShape): Uint32Array<ArrayBuffer> {
  const made = new Uint32Array(heads * PAGE_TOKENS * words);
  const first = page * PAGE_TOKENS;
  const tokens = Math.min(PAGE_TOKENS, rows.length / (heads * words) - first);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < heads; head++) {
      const from = ((first + token) * heads + head) * words;
      made.set(rows.subarray(from, from + words), (head * PAGE_TOKENS + token) * words);
    }
  }
  return made;
}
