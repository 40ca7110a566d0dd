/** Buffers of one prompt on one rank: its tokens in pieces that go through the layers' products together, its keys, and the block it holds. */
import type { DecoderSpec, LayerKind } from "../../api.ts";
import { EngineError } from "../../errors.ts";
import { allocated, storageBuffer, uploadedBuffer } from "../../gpu/buffers.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import { rowWords } from "../../kv-cache/format.ts";
import type { Slab } from "../../kv-cache/pages.ts";
import { localTable } from "../../position/scaling.ts";
import { angleRows } from "../angles.ts";
import type { KvFormats } from "../api.ts";
import { Words } from "../pageLists.ts";
import type { RankShard } from "./compute.ts";
import { shardLists, type Piece, type ShardLists } from "./shardLists.ts";
import { pageBytes, slabPages, type SlabShape } from "./slabs.ts";

export interface PieceBuffers extends Piece {
  ids: GPUBuffer;
  /** Residual stream [tokens, E], projection [tokens, H + 2G, D], and per band [tokens, H + G, D]. */
  x: GPUBuffer;
  qkv: GPUBuffer;
  rotated: readonly GPUBuffer[];
  /** [tokens, H, D], and log-sum-exps [tokens, H], written in turn. */
  out: GPUBuffer;
  lse: readonly [GPUBuffer, GPUBuffer];
  /** Per rotation and band, as rope_apply.wgsl reads them. */
  angles: ReadonlyMap<LayerKind["rotation"], Angles>;
}

export interface Angles {
  buffers: readonly GPUBuffer[];
  pairs: number;
}

export interface ShardBuffers {
  pieces: readonly PieceBuffers[];
  words: GPUBuffer;
  lists: ShardLists;
  /** Own keys and values, and those of the block that is held. */
  own: Slab;
  held: Slab;
  shapes: { keys: SlabShape; values: SlabShape };
  /** What the tap wants of a layer: queries [rows, H, D] per band, lse [rows, H], and per piece its (token, row). */
  tap: { queries: readonly GPUBuffer[]; lse: GPUBuffer; samples: readonly { buffer: GPUBuffer; count: number }[] };
  destroy(): void;
}

/** Throws `kv-cache-too-large` where the device has no memory for them. */
export async function openShardBuffers(
  spec: DecoderSpec,
  gpu: EngineDevice,
  kv: KvFormats,
  shard: RankShard,
  maxTokens: number,
): Promise<ShardBuffers> {
  const { headCount: H, kvHeadCount: G, headDim: D, hiddenSize: E } = spec;
  const { plan, shards } = shard;
  const own = shards[shard.rank];
  const pieces = piecesOf(own.length, maxTokens);
  const words = new Words();
  const lists = shardLists(words, spec, shard, pieces);
  const bands = Math.max(...spec.layers.map((layer) => lists.kind(layer).bands.length));
  const shapes = {
    keys: { heads: G, words: rowWords(kv.keys, D) },
    values: { heads: G, words: rowWords(kv.values, D) },
  };
  const made: GPUBuffer[] = [];
  const kept = (buffer: GPUBuffer): GPUBuffer => {
    made.push(buffer);
    return buffer;
  };
  const rows = (label: string, tokens: number, width: number): GPUBuffer => kept(storageBuffer(gpu, label, tokens * width * 4));
  const slab = (label: string, tokens: number): Slab => {
    const pages = slabPages(tokens);
    const buffer = (what: string, shape: SlabShape): GPUBuffer =>
      kept(storageBuffer(gpu, `${label} ${what}`, pages * pageBytes(shape)));
    const keys = plan.copies.map((_, copy) => buffer(`keys ${copy}`, shapes.keys));
    return { first: 0, pages, keys, values: buffer("values", shapes.values) };
  };

  const openPiece = ({ start, tokens }: Piece): PieceBuffers => {
    const positions = own.subarray(start, start + tokens);
    return {
      start,
      tokens,
      ids: kept(uploadedBuffer(gpu, "ids", new Uint32Array(shard.ids.slice(start, start + tokens).buffer))),
      x: rows("residual", tokens, E),
      qkv: rows("qkv", tokens, (H + 2 * G) * D),
      rotated: Array.from({ length: bands }, (_, band) => rows(`rotated ${band}`, tokens, (H + G) * D)),
      out: rows("attended", tokens, H * D),
      lse: [rows("log-sum-exps", tokens, H), rows("log-sum-exps", tokens, H)],
      angles: anglesOf(positions),
    };
  };

  const anglesOf = (positions: Uint32Array): ReadonlyMap<LayerKind["rotation"], Angles> => {
    const angles = new Map<LayerKind["rotation"], Angles>();
    const upload = (rotation: string, data: Float32Array<ArrayBuffer>): GPUBuffer =>
      kept(uploadedBuffer(gpu, `angles ${rotation}`, data));
    if (plan.table.invFreq.length > 0) {
      const scale = (token: number): number => plan.queryScale(positions[token]);
      const buffers = plan.bands.map(({ copy, queryPosition }) => {
        const keyPosition = plan.copies[copy];
        const queries = Float64Array.from(positions, (position) => queryPosition(position));
        const keys = Float64Array.from(positions, (position) => keyPosition(position));
        return upload("main", angleRows(plan.table, queries, keys, scale));
      });
      angles.set("main", { buffers, pairs: plan.table.invFreq.length });
    }
    const local = localTable(spec);
    if (local !== undefined && local.invFreq.length > 0) {
      const buffers = [
        upload(
          "local",
          angleRows(local, positions, positions, () => 1),
        ),
      ];
      angles.set("local", { buffers, pairs: local.invFreq.length });
    }
    return angles;
  };

  const openTap = (): ShardBuffers["tap"] => {
    const { tapRows } = shard;
    const samples = pieces.map(({ start, tokens }) => {
      const pairs = [...tapRows.entries()].flatMap(([row, place]) =>
        place >= start && place < start + tokens ? [place - start, row] : [],
      );
      return { buffer: kept(uploadedBuffer(gpu, "samples", Uint32Array.from(pairs))), count: pairs.length / 2 };
    });
    const count = tapRows.length;
    const queries = Array.from({ length: bands }, (_, band) => rows(`tapped queries ${band}`, count, H * D));
    return { queries, lse: rows("tapped log-sum-exps", count, H), samples };
  };

  try {
    return await allocated(
      gpu,
      () => ({
        pieces: pieces.map(openPiece),
        words: kept(uploadedBuffer(gpu, "page lists of a shard", words.view())),
        lists,
        own: slab("own", own.length),
        held: slab("held", Math.max(...shards.map(({ length }) => length))),
        shapes,
        tap: openTap(),
        destroy() {
          for (const buffer of made) buffer.destroy();
        },
      }),
      () =>
        new EngineError(
          "kv-cache-too-large",
          `the device has no memory for ${own.length} tokens of a prompt in a ring`,
          "shorten the context, or choose attention flash",
          { tokens: own.length },
        ),
    );
  } catch (error) {
    for (const buffer of made) buffer.destroy();
    throw error;
  }
}

function piecesOf(tokens: number, maxTokens: number): Piece[] {
  return Array.from({ length: Math.ceil(tokens / maxTokens) }, (_, index) => ({
    start: index * maxTokens,
    tokens: Math.min(maxTokens, tokens - index * maxTokens),
  }));
}
