/** A rank of a ring in plain loops: what the ranks on a GPU are compared with. The layer is that of decoder.ts, cut where keys are passed on. */
import type { PositionPlan } from "../api.ts";
import { takeRows } from "../attention/ring/before.ts";
import type { RankCompute, RankShard, TapRows } from "../attention/ring/compute.ts";
import { embeddingNormNames, EMBEDDING, layerNames, type LayerNames, type TensorPair } from "../models/weights.ts";
import { layerBands } from "../position/bands.ts";
import type { Reals } from "../position/rope.ts";
import { normRows, rotated, type Decoder } from "./decoder.ts";
import { addInPlace, alloc32, clampInPlace, embed, gateMultiply, keyMix, linear, rmsNorm } from "./ops.ts";
import { emptyCarry, finishCarry, ringAttend, type Carry, type PlainBlock } from "./ring.ts";

/** What is between `project` and `finish` of one layer. */
interface OpenLayer {
  names: LayerNames;
  /** Normed input [n, E], which some models go on from. */
  normed: Reals;
  bareQueries: Reals;
  rawKeys: Reals;
  values: Reals;
  queries: readonly Reals[];
  carry: Carry;
  blocks: Map<number, PlainBlock>;
}

export function plainRank(decoder: Decoder): RankCompute {
  const { spec, tensor } = decoder;
  const { hiddenSize: E, intermediateSize: F, headCount: H, headDim: D } = spec;
  let shard: RankShard | undefined;
  let x: Reals = alloc32(0);
  let open: OpenLayer | undefined;

  const project = (rows: Reals, names: TensorPair, inner: number): Reals =>
    linear(alloc32, rows, tensor(names.weight), names.bias === undefined ? undefined : tensor(names.bias), inner);
  const norm = (rows: Reals, names: TensorPair): Reals => normRows(decoder, rows, names.weight, names.bias);
  const headNorm = (rows: Reals, name: string | undefined): Reals =>
    name === undefined ? rows : rmsNorm(alloc32, rows, tensor(name), spec.normEps, spec.normOffset);
  const begun = (): RankShard => present(shard, "a rank computes before it has a shard");
  const layerAt = (index: number) => present(spec.layers[index], `layer ${index} of ${spec.layerCount}`);
  const current = (): OpenLayer => present(open, "a layer goes on before it has begun");
  const plan = (): PositionPlan => begun().plan;

  return {
    spec,
    device: "plain loops on the CPU",

    async begin(next) {
      shard = next;
      x = embed(alloc32, tensor(EMBEDDING), next.ids, E, spec.embeddingMultiplier); // [n, E]
      const names = embeddingNormNames(spec);
      if (names !== undefined) x = norm(x, names);
    },

    async project(layer) {
      const names = layerNames(spec, layer);
      const normed = norm(x, names.attentionNorm); // [n, E]
      const rawQueries = project(normed, names.query, E); // [n, H, D]
      const rawKeys = project(normed, names.key, E); // [n, G, D]
      const values = project(normed, names.value, E); // [n, G, D]
      for (const rows of [rawQueries, rawKeys, values]) clampInPlace(rows, spec.qkvClip);
      const bareQueries = headNorm(rawQueries, names.queryNorm);
      open = { names, normed, bareQueries, rawKeys, values, queries: [], carry: [], blocks: new Map() };
      return names.keyShift === undefined ? undefined : Float32Array.from(rawKeys);
    },

    async ownBlock(layer, before) {
      const { rank, shards } = begun();
      const kind = layerAt(layer);
      const state = current();
      const { names, rawKeys, bareQueries, values } = state;
      const mixed =
        names.keyShift === undefined || before === undefined ? rawKeys : keyMix(alloc32, rawKeys, before, tensor(names.keyShift)); // [n, G, D]
      const bareKeys = headNorm(mixed, names.keyNorm);
      const own = shards[rank];
      const at = (rows: Reals, heads: number, position: (position: number) => number): Reals =>
        rotated(decoder, plan(), kind, rows, heads, Float64Array.from(own, position));
      const scale = (position: number): number => (kind.rotation === "main" ? plan().queryScale(position) : 1);
      state.queries = layerBands(plan(), kind).map(({ queryPosition }) =>
        at(bareQueries, H, queryPosition).map((value, index) => value * scale(own[Math.floor(index / (H * D))])),
      );
      const copies = kind.rotation === "main" ? plan().copies : [(position: number) => position];
      const keys = copies.map((position) => at(bareKeys, spec.kvHeadCount, position));
      state.blocks.set(rank, { shard: own, keys, values });
      return { keys: keys.map(copied), values: copied(values) };
    },

    hold(owner, block) {
      // What came goes on to the next rank, so that a copy is kept.
      const keys = block.keys.map((rows) => new Float32Array(rows.slice(0)));
      current().blocks.set(owner, { shard: begun().shards[owner], keys, values: new Float32Array(block.values.slice(0)) });
    },

    async attend(layer, step, owner) {
      const { rank, shards } = begun();
      const state = current();
      if (step === 0) state.carry = emptyCarry(shards[rank], spec);
      const bands = layerBands(plan(), layerAt(layer));
      const block = present(state.blocks.get(owner), `no block of rank ${owner}`);
      return ringAttend({ queries: state.queries, bands }, shards[rank], block, state.carry, spec);
    },

    async finish(_layer, isTapped): Promise<TapRows | undefined> {
      const { names, normed, carry, queries } = current();
      const { out, lse } = finishCarry(alloc32, carry, D); // [n, H, D]
      const output = project(out, names.output, H * D); // [n, E]
      if (spec.residualAfterNorm) x.set(normed);
      addInPlace(x, names.attentionPostNorm === undefined ? output : norm(output, names.attentionPostNorm));
      const m = norm(x, names.mlpNorm); // [n, E]
      const gate = names.gate === undefined ? undefined : project(m, names.gate, E); // [n, F]
      const active = gateMultiply(alloc32, spec.activation, gate, project(m, names.up, E)); // [n, F]
      const down = project(active, names.down, F); // [n, E]
      if (spec.residualAfterNorm) x.set(m);
      addInPlace(x, names.mlpPostNorm === undefined ? down : norm(down, names.mlpPostNorm));
      open = undefined;
      if (!isTapped) return undefined;
      const { tapRows } = begun();
      return {
        queries: queries.map((rows) => takeRows(Float32Array.from(rows), tapRows, H * D)),
        lse: takeRows(Float32Array.from(lse), tapRows, H),
      };
    },

    rows: ({ keys, values }) => ({ keys: keys.map((rows) => new Uint32Array(rows)), values: new Uint32Array(values) }),
    states: async (first) => Float32Array.from(x.subarray(first * E)),
    end() {
      shard = undefined;
      open = undefined;
      x = alloc32(0);
    },
    dispose: () => undefined,
  };
}

function copied(rows: Reals): ArrayBuffer {
  return Float32Array.from(rows).buffer;
}

function present<T>(value: T | undefined, otherwise: string): T {
  if (value === undefined) throw new RangeError(otherwise);
  return value;
}
