/** One layer of a recurrent model: its graphs, and the plain loops between them. */
import type { Mamba2Spec, MambaSpec, Rwkv7Spec } from "../../api.ts";
import { emptyScanStates, emptyWkvStates, type ScanState, type WkvState } from "../../recurrent/state.ts";
import { convWidth, mamba2Names, mambaNames, rwkv7Names, type LowRankNames } from "../../recurrent/weights.ts";
import { alloc32, sigmoid } from "../../reference/ops.ts";
import {
  causalConv,
  columns,
  gatedRmsNorm,
  headNorm,
  normalizeHeads,
  selectiveScan,
  siluInPlace,
  softplus,
  ssdScan,
  wkvDecay,
  wkvScan,
} from "../../reference/recurrentOps.ts";
import { addBonus } from "../../reference/rwkv7.ts";
import type { Reals } from "../../position/rope.ts";
import type { WeightReader } from "./decoder.ts";
import { outputOf, type Floats, type GraphLoader } from "./ortGraph.ts";
import { channelMixGraph, inGraph, outGraph, selectGraph, timeMixGraph, type LowRankWeights } from "./recurrentGraphs.ts";

/** Moves the state of one layer over a chunk: x [C, E] -> [C, E]. `shared` is what layers of one chunk hand on. */
export interface RecurrentLayer {
  run(x: Floats, shared: Shared): Promise<Floats>;
  readonly state: ScanState | WkvState;
}

export interface Shared {
  /** Values of RWKV-7's layer 0, [C, E]. */
  firstValues?: Float32Array<ArrayBuffer>;
}

export async function loadMambaLayer(
  spec: MambaSpec,
  layer: number,
  reader: WeightReader,
  make: GraphLoader,
): Promise<RecurrentLayer> {
  const { innerSize: I } = spec;
  const names = mambaNames(spec, layer);
  const enter = await make(inGraph(spec, await reader.vector(names.norm), await reader.linear(names.inProjection)));
  const select = await make(selectGraph(spec, await reader.matrix(names.selection), await reader.linear(names.timeStep)));
  const leave = await make(outGraph(spec, await reader.linear(names.outProjection)));
  const weight = await reader.vector(names.convolution.weight);
  const bias = await reader.optionalVector(names.convolution.bias);
  const decayLog = await reader.vector(names.decayLog);
  const skip = await reader.vector(names.skip);
  const state = oneOf(emptyScanStates({ ...spec, layerCount: 1 }, alloc32));
  return {
    state,
    async run(x) {
      const uz = outputOf(await enter.run({ x }), "rows");
      const z = columns(alloc32, uz, 2 * I, I, 2 * I);
      const u = causalConv(alloc32, columns(alloc32, uz, 2 * I, 0, I), weight, bias, state.tail, I);
      siluInPlace(u);
      const selected = await select.run({ u: floats(u, I) });
      const step = outputOf(selected, "step").map(softplus);
      const scan = { u, step, b: outputOf(selected, "b"), c: outputOf(selected, "c"), decayLog, skip };
      const y = selectiveScan(alloc32, scan, state.scan);
      siluInPlace(z);
      for (let i = 0; i < y.length; i++) y[i] = y[i] * z[i];
      return { data: outputOf(await leave.run({ x, y: floats(y, I) }), "next"), dims: x.dims };
    },
  };
}

export async function loadMamba2Layer(
  spec: Mamba2Spec,
  layer: number,
  reader: WeightReader,
  make: GraphLoader,
): Promise<RecurrentLayer> {
  const { headCount: H, headDim: P, groupCount: G, stateSize: N } = spec;
  const I = H * P;
  const C = convWidth(spec);
  const width = I + C + H;
  const [low, high] = spec.timeStepLimit;
  const names = mamba2Names(spec, layer);
  const enter = await make(inGraph(spec, await reader.vector(names.norm), await reader.linear(names.inProjection)));
  const leave = await make(outGraph(spec, await reader.linear(names.outProjection)));
  const weight = await reader.vector(names.convolution.weight);
  const bias = await reader.optionalVector(names.convolution.bias);
  const stepBias = await reader.vector(names.timeStepBias);
  const decayLog = await reader.vector(names.decayLog);
  const skip = await reader.vector(names.skip);
  const norm = await reader.vector(names.gatedNorm);
  const state = oneOf(emptyScanStates({ ...spec, layerCount: 1 }, alloc32));
  return {
    state,
    async run(x) {
      const rows = outputOf(await enter.run({ x }), "rows");
      const mixed = causalConv(alloc32, columns(alloc32, rows, width, I, I + C), weight, bias, state.tail, C);
      siluInPlace(mixed);
      const step = columns(alloc32, rows, width, I + C, width);
      for (let i = 0; i < step.length; i++) step[i] = Math.min(high, Math.max(low, softplus(step[i] + stepBias[i % H])));
      const scan = {
        x: columns(alloc32, mixed, C, 0, I),
        step,
        b: columns(alloc32, mixed, C, I, I + G * N),
        c: columns(alloc32, mixed, C, I + G * N, C),
        decayLog,
        skip,
      };
      const y = ssdScan(alloc32, scan, spec, state.scan);
      const gated = gatedRmsNorm(alloc32, y, columns(alloc32, rows, width, 0, I), norm, I / spec.normGroupCount, spec.normEps);
      return { data: outputOf(await leave.run({ x, y: floats(gated, I) }), "next"), dims: x.dims };
    },
  };
}

export async function loadRwkv7Layer(
  spec: Rwkv7Spec,
  layer: number,
  reader: WeightReader,
  make: GraphLoader,
): Promise<RecurrentLayer> {
  const { hiddenSize: E, headCount: H, headDim: P } = spec;
  const names = rwkv7Names(layer);
  const mix = (kind: Parameters<typeof names.mix>[0]) => reader.vector(names.mix(kind));
  const lowRank = async ({ down, up }: LowRankNames): Promise<LowRankWeights> => ({
    down: await reader.matrix(down),
    up: await reader.linear(up),
  });
  const timeMix = await make(
    timeMixGraph(spec, {
      norm: await reader.norm(names.attentionNorm),
      mixes: { r: await mix("r"), w: await mix("w"), k: await mix("k"), v: await mix("v"), a: await mix("a"), g: await mix("g") },
      receptance: await reader.matrix(names.receptance),
      key: await reader.matrix(names.key),
      value: await reader.matrix(names.value),
      decay: await lowRank(names.decay),
      rate: await lowRank(names.rate),
      valueMix: names.valueMix === undefined ? undefined : await lowRank(names.valueMix),
      gate: await lowRank(names.gate),
    }),
  );
  const channelMix = await make(
    channelMixGraph(spec, {
      output: await reader.matrix(names.output),
      norm: await reader.norm(names.mlpNorm),
      mix: await reader.vector(names.mlpMix),
      key: await reader.matrix(names.mlpKey),
      value: await reader.matrix(names.mlpValue),
    }),
  );
  const removalKey = await reader.vector(names.removalKey);
  const keyRate = await reader.vector(names.keyRate);
  const bonus = await reader.vector(names.bonus);
  const { weight, bias } = await reader.norm(names.headNorm);
  const state = oneOf(emptyWkvStates({ ...spec, layerCount: 1 }, alloc32));
  return {
    state,
    async run(x, shared) {
      const mixed = await timeMix.run({ x, previous: floats(state.attentionInput, E) });
      const value = outputOf(mixed, "value");
      shared.firstValues ??= value;
      if (names.valueMix !== undefined) mixValues(value, shared.firstValues, outputOf(mixed, "share"));
      const rate = outputOf(mixed, "rate").map(sigmoid);
      const key = outputOf(mixed, "key");
      const removal = key.map((each, i) => each * removalKey[i % E]);
      normalizeHeads(removal, P);
      for (let i = 0; i < key.length; i++) key[i] *= 1 + (rate[i] - 1) * keyRate[i % E];
      const decay = outputOf(mixed, "decay").map(wkvDecay);
      const wkv = { receptance: outputOf(mixed, "receptance"), decay, key, value, removal, rate };
      const y = headNorm(alloc32, wkvScan(alloc32, wkv, H, P, state.wkv), weight, bias ?? weight, P, P * spec.normEps);
      addBonus(y, wkv, bonus, P);
      const gate = outputOf(mixed, "gate");
      for (let i = 0; i < y.length; i++) y[i] = y[i] * gate[i];
      const left = await channelMix.run({ x, y: floats(y, E), previous: floats(state.mlpInput, E) });
      state.attentionInput.set(outputOf(mixed, "normed").subarray(-E));
      state.mlpInput.set(outputOf(left, "normed").subarray(-E));
      return { data: outputOf(left, "next"), dims: x.dims };
    },
  };
}

function mixValues(value: Reals, first: Reals, share: Reals): void {
  for (let i = 0; i < value.length; i++) value[i] = value[i] + (first[i] - value[i]) * share[i];
}

/** Rows of `width` numbers on their way into a graph. */
function floats(values: Reals, width: number): Floats {
  return { data: Float32Array.from(values), dims: [values.length / width, width] };
}

function oneOf<T>(states: readonly T[]): T {
  const [state] = states;
  if (state === undefined) throw new RangeError("a model of no layers");
  return state;
}
