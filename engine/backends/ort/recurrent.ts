/** Recurrent models on ONNX Runtime: products in WebAssembly, recurrences in plain loops, the state in JavaScript's memory. */
import type { RecurrentSpec, RunnerOptions } from "../../api.ts";
import { throwIfAborted } from "../../errors.ts";
import { checkWeights } from "../../models/weights.ts";
import { openHostState } from "../../recurrent/hostState.ts";
import { openRecurrentRunner, type RecurrentBackend, type RecurrentRunner } from "../../recurrent/runner.ts";
import { modelKey } from "../../recurrent/snapshot.ts";
import { stateParts } from "../../recurrent/state.ts";
import { outerNames, rwkv7Names } from "../../recurrent/weights.ts";
import { alloc32, layerNorm, rmsNorm } from "../../reference/ops.ts";
import type { Reals } from "../../position/rope.ts";
import { sampleLogits } from "../../reference/sample.ts";
import { Breather } from "./breather.ts";
import { headSlices, refuseTooLarge, valueAt, WeightReader } from "./decoder.ts";
import type { LinearWeight, Norm } from "./layerGraphs.ts";
import { outputOf, type Floats, type GraphLoader, type OrtGraph } from "./ortGraph.ts";
import { stateHeadGraph } from "./recurrentGraphs.ts";
import { loadMamba2Layer, loadMambaLayer, loadRwkv7Layer, type RecurrentLayer, type Shared } from "./recurrentLayers.ts";

const FIRST_CHUNK = 32;
const LARGEST_CHUNK = 128;
/** A stop is heard between chunks; between layers the event loop turns. */
const CHUNK_MS = 200;

interface Loaded {
  graphs: readonly OrtGraph[];
  embedding: LinearWeight;
  embeddingNorm: Norm | undefined;
  layers: readonly RecurrentLayer[];
  finalNorm: Norm;
  /** Slices of the vocabulary, in order. */
  heads: readonly { graph: OrtGraph; rows: number }[];
  quantizationError: number | undefined;
}

/** Reads the weights layer by layer into graphs. Throws `limit-exceeded` before anything is read when they cannot fit. `device` is asked when they are there. */
export async function openOrtRecurrent(
  spec: RecurrentSpec,
  options: RunnerOptions,
  load: GraphLoader,
  device: () => string,
): Promise<RecurrentRunner> {
  const { weights, weightFormat, signal } = options;
  throwIfAborted(signal);
  checkWeights(spec, weights);
  refuseTooLarge(spec, weights, weightFormat);
  const key = await modelKey(spec, weights, weightFormat, signal);
  const model = await loadModel(spec, options, load);
  return openRecurrentRunner(spec, options, ortBackend(spec, model, device()), key);
}

async function loadModel(spec: RecurrentSpec, options: RunnerOptions, load: GraphLoader): Promise<Loaded> {
  const reader = new WeightReader(spec, options);
  const graphs: OrtGraph[] = [];
  const make: GraphLoader = async (graph) => {
    const ready = await load(graph);
    graphs.push(ready);
    return ready;
  };
  const outer = outerNames(spec);
  try {
    const embedding = await reader.matrix(outer.embedding);
    const normNames = spec.kind === "rwkv7" ? rwkv7Names(0).embeddingNorm : undefined;
    const embeddingNorm = await reader.optionalNorm(normNames);
    const layers: RecurrentLayer[] = [];
    for (let layer = 0; layer < spec.layerCount; layer++) layers.push(await loadLayer(spec, layer, reader, make));
    const finalNorm = await reader.norm(outer.finalNorm);
    const heads: { graph: OrtGraph; rows: number }[] = [];
    for (const slice of headSlices(spec.tiedEmbeddings ? embedding : await reader.matrix(outer.head))) {
      heads.push({ graph: await make(stateHeadGraph(spec, slice)), rows: slice.rows });
    }
    const quantizationError = reader.quantizationError();
    return { graphs, embedding, embeddingNorm, layers, finalNorm, heads, quantizationError };
  } catch (error) {
    for (const graph of graphs) await graph.release();
    throw error;
  }
}

function loadLayer(spec: RecurrentSpec, layer: number, reader: WeightReader, make: GraphLoader): Promise<RecurrentLayer> {
  switch (spec.kind) {
    case "mamba":
      return loadMambaLayer(spec, layer, reader, make);
    case "mamba2":
      return loadMamba2Layer(spec, layer, reader, make);
    case "rwkv7":
      return loadRwkv7Layer(spec, layer, reader, make);
  }
}

function ortBackend(spec: RecurrentSpec, model: Loaded, device: string): RecurrentBackend {
  const { hiddenSize: E, vocabSize: V } = spec;
  const breather = new Breather();
  const last = new Float32Array(E);
  const state = openHostState(spec, [...stateParts(model.layers.map((layer) => layer.state)), last]);
  let nextChunk = FIRST_CHUNK;

  function embed(ids: Int32Array): Floats {
    const x = new Float32Array(ids.length * E);
    for (let i = 0; i < x.length; i++) {
      x[i] = valueAt(model.embedding, (ids[Math.floor(i / E)] ?? 0) * E + (i % E)) * spec.embeddingMultiplier;
    }
    return {
      data: model.embeddingNorm === undefined ? x : Float32Array.from(norm(x, model.embeddingNorm)),
      dims: [ids.length, E],
    };
  }

  /** RMSNorm; of RWKV-7 LayerNorm. */
  function norm(x: Reals, { weight, bias }: Norm): Reals {
    return spec.kind === "rwkv7" ? layerNorm(alloc32, x, weight, bias, spec.normEps) : rmsNorm(alloc32, x, weight, spec.normEps);
  }

  /** Logits [n, V] of final normed states [n, E]. */
  async function logitsOf(states: Float32Array<ArrayBuffer>): Promise<Float32Array<ArrayBuffer>> {
    const count = states.length / E;
    const logits = new Float32Array(count * V);
    let firstRow = 0;
    for (const { graph, rows } of model.heads) {
      const slice = outputOf(await graph.run({ states: { data: states, dims: [count, E] } }), "logits");
      for (let token = 0; token < count; token++) {
        logits.set(slice.subarray(token * rows, (token + 1) * rows), token * V + firstRow);
      }
      firstRow += rows;
    }
    return logits;
  }

  /** Doubles or halves the chunk so that the next one takes about CHUNK_MS. */
  function adapt(tokens: number, elapsedMs: number): void {
    if (tokens < nextChunk) return;
    if (elapsedMs < CHUNK_MS / 2) nextChunk = Math.min(LARGEST_CHUNK, nextChunk * 2);
    else if (elapsedMs > CHUNK_MS) nextChunk = Math.max(1, Math.floor(nextChunk / 2));
  }

  return {
    kind: "ort",
    device,
    lost: new Promise<void>(() => undefined),
    quantizationError: model.quantizationError,
    check: () => undefined,
    chunkTokens: () => nextChunk,
    async run(ids, { allLogits }) {
      const began = performance.now();
      const shared: Shared = {};
      let x = embed(ids);
      for (const layer of model.layers) {
        // Without the signal: a chunk that stopped between layers would leave a state that is neither here nor there.
        await breather.breathe(undefined);
        x = await layer.run(x, shared);
      }
      const states = Float32Array.from(norm(allLogits ? x.data : x.data.subarray(-E), model.finalNorm));
      last.set(states.subarray(-E));
      adapt(ids.length, performance.now() - began);
      await breather.breathe(undefined);
      return allLogits ? logitsOf(states) : undefined;
    },
    lastLogits: () => logitsOf(last),
    sample: async (sampling, allowed, uniform01) => sampleLogits(await logitsOf(last), sampling, allowed, uniform01),
    ...state,
    loseDevice: () => false,
    dispose() {
      // Nobody waits for memory to be given back, and a graph that cannot be released is gone with the worker.
      for (const graph of model.graphs) graph.release().catch(() => undefined);
    },
  };
}
