/**
 * Checkpoints that were quantised before they were published (`quantization_config` in config.json), as if they were not: a view with
 * `x.weight` [out, in] over `x.qweight` and its companions (AWQ, GPTQ), in affine blocks where these can hold it, and over eight-bit
 * floats with their scales (FP8), as f32. Sources: transformers' quantizers of the same names, AutoAWQ, GPTQModel.
 */
import type { TensorFormat, WeightStore } from "../api.ts";
import { EngineError } from "../errors.ts";
import { isRecord, JsonFields, type JsonRecord, shown } from "../formats/json.ts";
import { affineRows, awqCodes, type GroupedCodes, gptqCodes, rowFormat, valueRows } from "../formats/packed.ts";
import { overlaidStore } from "../formats/overlaidStore.ts";
import { checkedRows, type NamedStore } from "../formats/tensorStore.ts";

/**
 * The tensors that the config describes over those that `store` has. Reads the group indices of act-order checkpoints now and at
 * most one packed tensor at a time later. Throws `unsupported-model` for a method or a variant of one that is not supported, and
 * `bad-weights` where companions are missing or have other shapes.
 */
export async function unquantizedView(config: unknown, store: NamedStore, signal?: AbortSignal): Promise<NamedStore> {
  const quantization = isRecord(config) ? (config["quantization_config"] ?? undefined) : undefined;
  if (quantization === undefined) return store;
  if (!isRecord(quantization)) throw unsupported(`quantization_config ${shown(quantization)} is no object`);
  const fields = new JsonFields(quantization, "quantization_config", "unsupported-model", "download config.json again");
  const method = fields.string("quant_method");
  switch (method) {
    case "awq":
      return packedView(store, awqLayers(fields, store));
    case "gptq":
      return packedView(store, await gptqLayers(fields, store, signal));
    case "fp8":
    case "fbgemm_fp8":
    case "compressed-tensors":
      return floatView(store, scaleBlock(method, fields, quantization));
    default:
      throw unsupported(`the quantisation method ${shown(method)}`);
  }
}

/** One linear layer in integers. */
interface PackedLayer {
  shape: readonly [outputs: number, inputs: number];
  format: "affine4" | "affine8" | "f32";
  read(signal: AbortSignal | undefined): Promise<GroupedCodes>;
}

function awqLayers(fields: JsonFields, store: NamedStore): Map<string, PackedLayer> {
  refuseOther(fields, "bits", 4, 4);
  refuseOther(fields, "version", "gemm", "gemm");
  refuseOther(fields, "zero_point", true, true);
  const layers = new Map<string, PackedLayer>();
  for (const base of packedNames(store)) {
    const [inputs = 0, words = 0] = companionShape(store, `${base}.qweight`);
    const shape = [words * 8, inputs] as const;
    const groupSize = groupSizeOf(fields, inputs);
    const groups = Math.ceil(inputs / groupSize);
    expectShape(store, `${base}.qzeros`, [groups, words]);
    expectShape(store, `${base}.scales`, [groups, shape[0]]);
    layers.set(`${base}.weight`, {
      shape,
      format: rowFormat({ inputs, bits: 4, groupOf: (input) => Math.floor(input / groupSize) }),
      read: async (signal) =>
        awqCodes({
          ...{ outputs: shape[0], inputs, groupSize },
          qweight: await words32(store, `${base}.qweight`, signal),
          qzeros: await words32(store, `${base}.qzeros`, signal),
          scales: await store.readRows(`${base}.scales`, undefined, undefined, signal),
        }),
    });
  }
  return layers;
}

async function gptqLayers(
  fields: JsonFields,
  store: NamedStore,
  signal: AbortSignal | undefined,
): Promise<Map<string, PackedLayer>> {
  const bits = fields.number("bits");
  if (bits !== 4 && bits !== 8) throw unsupported(`GPTQ weights of ${bits} bits`);
  const format = fields.string("checkpoint_format", "gptq");
  if ((format !== "gptq" && format !== "gptq_v2") || fields.boolean("is_marlin_format", false)) {
    throw unsupported(`the GPTQ checkpoint format ${shown(format === "gptq" ? "marlin" : format)}`);
  }
  const layers = new Map<string, PackedLayer>();
  const perWord = 32 / bits;
  for (const base of packedNames(store)) {
    const [words = 0, outputs = 0] = companionShape(store, `${base}.qweight`);
    const inputs = words * perWord;
    const groupSize = groupSizeOf(fields, inputs);
    const [groups = 0] = companionShape(store, `${base}.scales`);
    if (groups < Math.ceil(inputs / groupSize)) throw badShape(store, `${base}.scales`, [Math.ceil(inputs / groupSize), outputs]);
    expectShape(store, `${base}.scales`, [groups, outputs]);
    expectShape(store, `${base}.qzeros`, [groups, outputs / perWord]);
    const groupIndex = await groupIndices(store, `${base}.g_idx`, inputs, groups, signal);
    const groupOf = (input: number): number => groupIndex?.[input] ?? Math.floor(input / groupSize);
    layers.set(`${base}.weight`, {
      shape: [outputs, inputs],
      format: rowFormat({ inputs, bits, groupOf }),
      read: async (readSignal) =>
        gptqCodes({
          ...{ outputs, inputs, bits, groupSize, zerosLessOne: format === "gptq" },
          qweight: await words32(store, `${base}.qweight`, readSignal),
          qzeros: await words32(store, `${base}.qzeros`, readSignal),
          scales: await store.readRows(`${base}.scales`, undefined, undefined, readSignal),
          ...(groupIndex && { groupIndex }),
        }),
    });
  }
  return layers;
}

/** The group of every input where the file says; undefined where it has no such tensor. */
async function groupIndices(
  store: NamedStore,
  name: string,
  inputs: number,
  groups: number,
  signal: AbortSignal | undefined,
): Promise<Int32Array | undefined> {
  if (!store.has(name)) return undefined;
  expectShape(store, name, [inputs]);
  const indices = Int32Array.from(await store.readRows(name, undefined, undefined, signal));
  const wrong = indices.find((group) => group < 0 || group >= groups);
  if (wrong === undefined) return indices;
  throw new EngineError("bad-weights", `tensor ${name} names group ${wrong}, and there are ${groups}`, DOWNLOAD, { name });
}

/** The tensors of `store` with the packed layers in place of their parts. */
function packedView(store: NamedStore, layers: ReadonlyMap<string, PackedLayer>): NamedStore {
  /** The layer whose rows were read last, because it is read in several pieces; dropped with its last row. */
  let held: { name: string; codes: Promise<GroupedCodes> } | undefined;
  const codesOf = async (name: string, layer: PackedLayer, signal: AbortSignal | undefined): Promise<GroupedCodes> => {
    if (held?.name !== name) held = { name, codes: layer.read(signal) };
    try {
      return await held.codes;
    } catch (error) {
      held = undefined;
      throw error;
    }
  };
  const rows = async <T>(
    name: string,
    layer: PackedLayer,
    [start, end]: readonly [start: number | undefined, end: number | undefined],
    signal: AbortSignal | undefined,
    use: (codes: GroupedCodes, rowStart: number, rowEnd: number) => T,
  ): Promise<T> => {
    const { rowStart, rowEnd } = checkedRows(name, layer.shape, start, end);
    const codes = await codesOf(name, layer, signal);
    if (rowEnd === layer.shape[0] && held?.name === name) held = undefined;
    return use(codes, rowStart, rowEnd);
  };
  return overlaidStore(store, layers, isPart, {
    readRows: (name, layer, range, signal) => rows(name, layer, range, signal, valueRows),
    readBytes: (name, layer, range, signal) =>
      rows(name, layer, range, signal, (codes, start, end) =>
        layer.format === "f32" ? new Uint8Array(valueRows(codes, start, end).buffer) : affineRows(codes, start, end),
      ),
  });
}

/** Parts of packed layers, which the view does not show. */
function isPart(name: string): boolean {
  return /\.(qweight|qzeros|scales|g_idx)$/.test(name);
}

/** FP8: how many rows and columns one scale of `weight_scale_inv` is for. */
type ScaleBlock = readonly [rows: number, columns: number];

function scaleBlock(method: string, fields: JsonFields, quantization: JsonRecord): ScaleBlock {
  if (method === "compressed-tensors") refuseOther(fields, "format", "float-quantized", undefined);
  const size = quantization["weight_block_size"] ?? [128, 128];
  const [rows, columns] = Array.isArray(size) && size.length === 2 ? (size as unknown[]) : [];
  if (isPositive(rows) && isPositive(columns)) return [rows, columns];
  throw unsupported(`weight_block_size ${shown(size)}`);
}

/** A matrix in eight-bit floats with its scales. */
interface ScaledMatrix {
  shape: readonly number[];
  format: "f32";
  scale: string;
  /** Rows and columns that share a scale; undefined columns are all of them. */
  block: readonly [rows: number, columns: number];
}

function floatView(store: NamedStore, block: ScaleBlock): NamedStore {
  const matrices = new Map<string, ScaledMatrix>();
  for (const name of store.names()) {
    const shape = store.shape(name);
    if (shape.length !== 2 || !isFloat8(store, name)) continue;
    const [rows = 0, columns = 0] = shape;
    const inverse = `${name}_scale_inv`;
    const plain = `${name}_scale`;
    if (store.has(inverse)) {
      expectShape(store, inverse, [Math.ceil(rows / block[0]), Math.ceil(columns / block[1])]);
      matrices.set(name, { shape, format: "f32", scale: inverse, block });
    } else if (store.has(plain)) {
      const count = companionShape(store, plain).reduce((product, size) => product * size, 1);
      if (count !== 1 && count !== rows) throw badShape(store, plain, [rows, 1]);
      matrices.set(name, { shape, format: "f32", scale: plain, block: [count === 1 ? rows : 1, columns] });
    } else throw missingPart(plain);
  }
  const readRows = async (
    name: string,
    { shape, scale, block: [blockRows, blockColumns] }: ScaledMatrix,
    [start, end]: readonly [start: number | undefined, end: number | undefined],
    signal: AbortSignal | undefined,
  ): Promise<Float32Array<ArrayBuffer>> => {
    const { rowStart, rowEnd } = checkedRows(name, shape, start, end);
    const columns = shape[1] ?? 0;
    const scales = await store.readRows(scale, undefined, undefined, signal);
    const perRow = Math.ceil(columns / blockColumns);
    const values = await store.readRows(name, rowStart, rowEnd, signal);
    for (let row = rowStart; row < rowEnd; row++) {
      const first = Math.floor(row / blockRows) * perRow;
      for (let column = 0; column < columns; column++) {
        values[(row - rowStart) * columns + column] *= scales[first + Math.floor(column / blockColumns)];
      }
    }
    return values;
  };
  return overlaidStore(
    store,
    matrices,
    (name) => /\.(weight_scale|weight_scale_inv|(input|activation|output|k|v)_scale)$/.test(name),
    {
      readRows,
      readBytes: async (name, matrix, range, signal) => new Uint8Array((await readRows(name, matrix, range, signal)).buffer),
    },
  );
}

function isFloat8(store: NamedStore, name: string): boolean {
  try {
    return FLOAT8.includes(store.format(name));
  } catch (error) {
    // A format that nobody may ask for.
    if (EngineError.is(error, "bad-weights")) return false;
    throw error;
  }
}

const FLOAT8: readonly TensorFormat[] = ["f8_e4m3", "f8_e5m2"];

/** What stands before ".qweight". */
function packedNames(store: NamedStore): string[] {
  return [...store.names()].filter((name) => name.endsWith(".qweight")).map((name) => name.slice(0, -".qweight".length));
}

/** -1 is one group for all inputs. */
function groupSizeOf(fields: JsonFields, inputs: number): number {
  const size = fields.number("group_size", fields.number("q_group_size", 128));
  if (size === -1) return inputs;
  if (isPositive(size)) return size;
  throw unsupported(`group_size ${String(size)}`);
}

async function words32(store: WeightStore, name: string, signal: AbortSignal | undefined): Promise<Int32Array> {
  const format = store.format(name);
  if (format !== "i32" && format !== "u32") {
    throw new EngineError("bad-weights", `tensor ${name} is ${format} and should hold 32-bit words`, DOWNLOAD, { name });
  }
  const bytes = await store.readBytes(name, 0, store.shape(name)[0] ?? 0, signal);
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4);
}

function companionShape(store: WeightStore, name: string): readonly number[] {
  if (store.has(name)) return store.shape(name);
  throw missingPart(name);
}

function expectShape(store: WeightStore, name: string, expected: readonly number[]): void {
  if (companionShape(store, name).join() !== expected.join()) throw badShape(store, name, expected);
}

function badShape(store: WeightStore, name: string, expected: readonly number[]): EngineError {
  const found = store.shape(name).join(", ");
  const message = `tensor ${name} is [${found}] and quantization_config asks for [${expected.join(", ")}]`;
  return new EngineError("bad-weights", message, "use config.json and weights of the same model", { name });
}

const DOWNLOAD = "download the model again, with all its files";

function missingPart(name: string): EngineError {
  return new EngineError("weights-missing", `the weights have no tensor ${name}`, DOWNLOAD, { name });
}

function isPositive(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}

/** Refuses another value of a key than the one that is done; `otherwise` stands where the key is missing. */
function refuseOther(fields: JsonFields, key: string, only: unknown, otherwise: unknown): void {
  const value = fields.value(key) ?? otherwise;
  if (value !== only) throw unsupported(`${key} ${shown(value)}`);
}

function unsupported(what: string): EngineError {
  const message = `the checkpoint is quantised in a way that the engine does not read (${what})`;
  return new EngineError("unsupported-model", message, "choose the F16, BF16, AWQ (gemm), GPTQ or FP8 version, or a GGUF file");
}
