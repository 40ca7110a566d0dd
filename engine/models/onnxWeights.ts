/**
 * The weights of an ONNX file that onnxruntime-genai's model builder wrote (its src/python/py/models/builders/base.py), under Llama's
 * names. Projections are MatMulNBits nodes, which become affine blocks where these can hold them, or MatMul nodes over [in, out]
 * floats; queries, keys and values may be one of them, and the embedding table may be the output head.
 */
import type { DecoderSpec, TensorFormat, WeightStore } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { OnnxFile, OnnxFileNode } from "../formats/onnxFile.ts";
import { overlaidStore } from "../formats/overlaidStore.ts";
import { affineRows, type GroupedCodes, matMulNBitsCodes, rowFormat, valueRows } from "../formats/packed.ts";
import { checkedRows, type NamedStore, PIECE_BYTES } from "../formats/tensorStore.ts";
import { type FileRows, weightView } from "./view.ts";
import { tensorShapes } from "./weights.ts";

/** Weights of a decoder, and whether its output head is the embedding table, which config.json may see otherwise. */
export interface OnnxWeights {
  weights: WeightStore;
  tiedEmbeddings: boolean;
}

/** Throws `unsupported-model` for a graph whose weights are not all understood and `bad-weights` where they do not fit each other. */
export function onnxWeights(spec: DecoderSpec, file: OnnxFile): OnnxWeights {
  const used = new Set<string>();
  const linears = linearLayers(file, used);
  const store = overlaidStore(file.store, linears, () => false, {
    readRows: (name, linear, [start, end], signal) => {
      const { rowStart, rowEnd } = checkedRows(name, linear.shape, start, end);
      return linear.rows(file.store, rowStart, rowEnd, signal);
    },
    readBytes: (name, linear, [start, end], signal) => {
      const { rowStart, rowEnd } = checkedRows(name, linear.shape, start, end);
      return linear.bytes(file.store, rowStart, rowEnd, signal);
    },
  });
  const tiedEmbeddings = !(store.has(EMBEDDING) && store.has(`${HEAD}.weight`));
  const places = placesOf({ ...spec, tiedEmbeddings }, store);
  for (const [name, place] of places) if (tensorShapes({ ...spec, tiedEmbeddings }).has(name)) used.add(place.name);
  const unread = [...store.names()].filter((name) => !used.has(name) && !/cos_cache|sin_cache|constants/.test(name));
  if (unread.length > 0) throw unsupported(`the engine does not know what to do with ${unread.slice(0, 3).join(", ")}`);
  return { weights: weightView(store, (name) => places.get(name)), tiedEmbeddings };
}

const EMBEDDING = "model.embed_tokens.weight";
const HEAD = "lm_head";

/** One projection [outputs, inputs]. */
interface Linear {
  shape: readonly [outputs: number, inputs: number];
  format: TensorFormat;
  rows(store: NamedStore, start: number, end: number, signal: AbortSignal | undefined): Promise<Float32Array<ArrayBuffer>>;
  bytes(store: NamedStore, start: number, end: number, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer>>;
}

/** The projections, named as their nodes are ("model.layers.0.attn.o_proj.weight"); `used` takes the initializers they consist of. */
function linearLayers({ nodes, store }: OnnxFile, used: Set<string>): Map<string, Linear> {
  const linears = new Map<string, Linear>();
  for (const node of nodes) {
    const base = /^\/(model\/layers\.\d+\/\w+\/\w+_proj|lm_head)\/MatMul/.exec(node.name)?.[1]?.replaceAll("/", ".");
    if (base === undefined) continue;
    if (node.op === "MatMulNBits") linears.set(`${base}.weight`, nBits(store, node, used));
    else if (node.op === "MatMul" && store.has(node.inputs[1] ?? "")) linears.set(`${base}.weight`, floats(store, node, used));
  }
  return linears;
}

function nBits(store: NamedStore, node: OnnxFileNode, used: Set<string>): Linear {
  const number = (key: string): number => node.numbers.get(key) ?? 0;
  const [outputs, inputs, bits, blockSize] = [number("N"), number("K"), node.numbers.get("bits") ?? 4, number("block_size")];
  const [, b = "", scales = "", zeros = "", groupIndex = ""] = node.inputs;
  if (bits !== 4 && bits !== 8) throw unsupported(`${node.name} has weights of ${bits} bits`);
  if (groupIndex !== "" || number("weight_prepacked") !== 0) throw unsupported(`${node.name} has its weights in another order`);
  if (outputs < 1 || inputs < 1 || blockSize < 16) throw bad(node.name, `has the sizes N ${outputs}, K ${inputs}, ${blockSize}`);
  const blocks = Math.ceil(inputs / blockSize);
  const perOutput = { b: (blocks * blockSize * bits) / 8, scales: blocks, zeros: Math.ceil((blocks * bits) / 8) };
  const hasPlainZeros = zeros !== "" && store.has(zeros) && store.format(zeros) !== "u8";
  const parts: [name: string, perOutput: number][] = [
    [b, perOutput.b],
    [scales, perOutput.scales],
    ...(zeros === "" ? [] : [[zeros, hasPlainZeros ? blocks : perOutput.zeros] as [string, number]]),
  ];
  for (const [name, count] of parts) {
    used.add(name);
    const found = store.shape(name).reduce((product, size) => product * size, 1);
    if (found !== outputs * count) throw bad(name, `has ${found} numbers and node ${node.name} needs ${outputs * count}`);
  }
  if (store.format(b) !== "u8") throw bad(b, `is ${store.format(b)} and should be bytes`);
  const shape = [outputs, inputs] as const;
  const codes = async (rows: NamedStore, start: number, end: number, signal: AbortSignal | undefined): Promise<GroupedCodes> =>
    matMulNBitsCodes({
      ...{ outputs: end - start, inputs, bits, blockSize },
      b: await rows.readBytes(b, ...flat(rows, b, perOutput.b, start, end), signal),
      scales: await rows.readRows(scales, ...flat(rows, scales, blocks, start, end), signal),
      ...(zeros === ""
        ? {}
        : {
            zeros: hasPlainZeros
              ? { plain: await rows.readRows(zeros, ...flat(rows, zeros, blocks, start, end), signal) }
              : { packed: await rows.readBytes(zeros, ...flat(rows, zeros, perOutput.zeros, start, end), signal) },
          }),
    });
  const format = rowFormat({ inputs, bits, groupOf: (input) => Math.floor(input / blockSize) });
  return {
    shape,
    format,
    rows: async (rows, start, end, signal) => valueRows(await codes(rows, start, end, signal), 0, end - start),
    bytes: async (rows, start, end, signal) => {
      const layer = await codes(rows, start, end, signal);
      return format === "f32" ? new Uint8Array(valueRows(layer, 0, end - start).buffer) : affineRows(layer, 0, end - start);
    },
  };
}

/** Rows of a tensor that hold `perOutput` numbers for each of the outputs [start, end), whatever its dimensions are. */
function flat(store: NamedStore, name: string, perOutput: number, start: number, end: number): [first: number, last: number] {
  const rowNumbers = store
    .shape(name)
    .slice(1)
    .reduce((product, size) => product * size, 1);
  if (perOutput % rowNumbers !== 0) throw bad(name, `is [${store.shape(name).join(", ")}] and should have rows per output`);
  return [(start * perOutput) / rowNumbers, (end * perOutput) / rowNumbers];
}

/** A matrix that lies as [inputs, outputs]; its columns are the rows. */
function floats(store: NamedStore, node: OnnxFileNode, used: Set<string>): Linear {
  const name = node.inputs[1] ?? "";
  used.add(name);
  const [inputs = 0, outputs = 0] = store.shape(name);
  if (store.shape(name).length !== 2) throw bad(name, `is [${store.shape(name).join(", ")}] and should be a matrix`);
  const rows: Linear["rows"] = async (from, start, end, signal) => {
    const values = new Float32Array((end - start) * inputs);
    const strip = Math.max(1, Math.floor(PIECE_BYTES / (outputs * 4)));
    for (let first = 0; first < inputs; first += strip) {
      const count = Math.min(strip, inputs - first);
      const piece = await from.readRows(name, first, first + count, signal);
      for (let output = start; output < end; output++) {
        for (let i = 0; i < count; i++) values[(output - start) * inputs + first + i] = piece[i * outputs + output];
      }
    }
    return values;
  };
  return {
    shape: [outputs, inputs],
    format: "f32",
    rows,
    bytes: async (from, start, end, signal) => new Uint8Array((await rows(from, start, end, signal)).buffer),
  };
}

function placesOf(spec: DecoderSpec, store: NamedStore): Map<string, FileRows> {
  const { headCount: H, kvHeadCount: G, headDim: D, layerCount, normOffset } = spec;
  const places = new Map<string, FileRows>();
  const add = (name: string, fileName: string, more: Partial<FileRows> = {}): void => {
    if (store.has(fileName)) places.set(name, { name: fileName, shape: store.shape(fileName), ...more });
  };
  const norm: Partial<FileRows> = normOffset === 0 ? {} : { value: (stored) => stored - normOffset };
  add(EMBEDDING, store.has(EMBEDDING) ? EMBEDDING : `${HEAD}.weight`);
  add("lm_head.weight", `${HEAD}.weight`);
  add("model.norm.weight", `model.layers.${layerCount}.final_norm_layernorm.weight`, norm);
  for (let layer = 0; layer < layerCount; layer++) {
    const start = `model.layers.${layer}.`;
    for (const location of ["input", "post_attention", "pre_feedforward", "post_feedforward"]) {
      add(`${start}${location}_layernorm.weight`, `${start}${location}_layernorm.weight`, norm);
    }
    for (const head of ["q", "k"])
      add(`${start}self_attn.${head}_norm.weight`, `${start}attn.${head}_norm.layernorm.weight`, norm);
    for (const [kind, from] of [
      ["weight", ".weight"],
      ["bias", ".Add.bias"],
    ] as const) {
      let first = 0;
      const whole = `${start}attn.qkv_proj${from}`;
      for (const [part, rows] of [
        ["q", H * D],
        ["k", G * D],
        ["v", G * D],
      ] as const) {
        const before = first;
        const rest = store.has(whole) ? store.shape(whole).slice(1) : [];
        const slice = { shape: [rows, ...rest], fileShape: [(H + 2 * G) * D, ...rest], fileRow: (row: number) => before + row };
        add(`${start}self_attn.${part}_proj.${kind}`, whole, slice);
        add(`${start}self_attn.${part}_proj.${kind}`, `${start}attn.${part}_proj${from}`);
        first += rows;
      }
      add(`${start}self_attn.o_proj.${kind}`, `${start}attn.o_proj${from}`);
      for (const part of ["gate", "up", "down"]) add(`${start}mlp.${part}_proj.${kind}`, `${start}mlp.${part}_proj${from}`);
    }
  }
  return places;
}

function bad(name: string, what: string): EngineError {
  return new EngineError("bad-weights", `${name} of the ONNX file ${what}`, "download the model again, with all its files", {
    name,
  });
}

function unsupported(what: string): EngineError {
  const remedy = "choose the safetensors or GGUF version of the model";
  return new EngineError("unsupported-model", `the ONNX file is not one whose weights can be read: ${what}`, remedy);
}
