/**
 * An ONNX file as a container of weights: its initializers, beside it (external data) or inside, and the nodes that use them. Field
 * numbers are those of the public schema onnx/onnx.proto.
 */
import type { ByteSource, ModelFiles, TensorFormat } from "../api.ts";
import { EngineError } from "../errors.ts";
import { LAYOUTS } from "./layouts.ts";
import { ProtoFile, type ProtoField } from "./protobuf.ts";
import { type NamedStore, placedStore, type PlacedTensor } from "./tensorStore.ts";

export interface OnnxFile {
  /** Initializers by their names in the graph. */
  readonly store: NamedStore;
  readonly nodes: readonly OnnxFileNode[];
}

export interface OnnxFileNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Whole-number attributes. */
  readonly numbers: ReadonlyMap<string, number>;
}

/** Of nodes and of initializers each; a model of 200 layers has about 20,000 nodes. */
const MAX_COUNT = 200_000;
const MAX_DIMENSIONS = 8;
const MAX_LIST = 1024;

/** onnx.TensorProto.DataType -> format. */
const FORMATS: Readonly<Record<number, TensorFormat>> = {
  ...{
    1: "f32",
    2: "u8",
    3: "i8",
    4: "u16",
    5: "i16",
    6: "i32",
    7: "i64",
    9: "bool",
    10: "f16",
    11: "f64",
    12: "u32",
    13: "u64",
  },
  ...{ 16: "bf16", 17: "f8_e4m3", 19: "f8_e5m2" },
};

/**
 * Opens `name`; tensor data is neither read nor believed to be where the file says before that is checked. Throws `not-found` where
 * there is no such file, `weights-missing` for a missing data file and `bad-weights` for a damaged one.
 */
export async function openOnnx(files: ModelFiles, name: string, signal?: AbortSignal): Promise<OnnxFile> {
  const source = await files.open(name);
  if (source === undefined)
    throw new EngineError("not-found", `${files.label} has no ${name}`, "choose a folder with an ONNX model");
  const file = new ProtoFile(source, signal);
  const data = new Map<string, ByteSource>();
  const tensors = new Map<string, PlacedTensor>();
  const nodes: OnnxFileNode[] = [];
  let hasGraph = false;
  for await (const part of file.fields(0, source.size)) {
    if (part.number !== 7) continue;
    hasGraph = true;
    for await (const field of file.fields(part.start, part.end)) {
      if (field.number === 1) nodes.push(await readNode(file, field));
      if (field.number !== 5) continue;
      const { name: tensorName, tensor } = await readTensor(file, field, (location) => dataFile(files, file, data, location));
      if (tensors.has(tensorName)) throw file.damaged(`has initializer ${tensorName} twice`);
      tensors.set(tensorName, tensor);
      if (tensors.size > MAX_COUNT || nodes.length > MAX_COUNT)
        throw file.damaged(`has more than ${MAX_COUNT} nodes or initializers`);
    }
  }
  if (!hasGraph) throw file.damaged("is no ONNX file: it has no graph");
  checkOverlaps(file, tensors);
  return { store: placedStore(tensors), nodes };
}

/** A data file lies beside the graph: the graph is data from elsewhere and must not lead out of the folder. */
async function dataFile(
  files: ModelFiles,
  file: ProtoFile,
  opened: Map<string, ByteSource>,
  location: string,
): Promise<ByteSource> {
  const known = opened.get(location);
  if (known !== undefined) return known;
  if (!/^[^/\\\0]+$/.test(location) || location === "." || location === "..") {
    throw file.damaged(`places a tensor in ${JSON.stringify(location).slice(0, 60)}`);
  }
  const source = await files.open(location);
  if (source === undefined) {
    const message = `${files.label} has no ${location}, which ${file.source.name} names`;
    throw new EngineError("weights-missing", message, `download ${location} as well`, { file: location });
  }
  opened.set(location, source);
  return source;
}

async function readNode(file: ProtoFile, message: ProtoField): Promise<OnnxFileNode> {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const numbers = new Map<string, number>();
  let [name, op] = ["", ""];
  for await (const field of file.fields(message.start, message.end)) {
    if (field.number === 1) inputs.push(await file.text(field));
    else if (field.number === 2) outputs.push(await file.text(field));
    else if (field.number === 3) name = await file.text(field);
    else if (field.number === 4) op = await file.text(field);
    else if (field.number === 5) await readNumber(file, field, numbers);
    if (inputs.length > MAX_LIST || outputs.length > MAX_LIST)
      throw file.damaged(`gives node ${name} more than ${MAX_LIST} values`);
  }
  return { name, op, inputs, outputs, numbers };
}

/** An attribute, if it is one whole number. */
async function readNumber(file: ProtoFile, message: ProtoField, numbers: Map<string, number>): Promise<void> {
  let name = "";
  let value: bigint | undefined;
  for await (const field of file.fields(message.start, message.end)) {
    if (field.number === 1) name = await file.text(field);
    else if (field.number === 3) value = field.value;
  }
  if (value !== undefined) numbers.set(name, Number(BigInt.asIntN(64, value)));
}

interface RawTensor {
  name: string;
  dims: bigint[];
  type: number;
  /** Inside the file. */
  raw: ProtoField | undefined;
  /** Outside it. */
  external: Map<string, string>;
}

async function readTensor(
  file: ProtoFile,
  message: ProtoField,
  open: (location: string) => Promise<ByteSource>,
): Promise<{ name: string; tensor: PlacedTensor }> {
  const raw: RawTensor = { name: "", dims: [], type: 0, raw: undefined, external: new Map() };
  for await (const field of file.fields(message.start, message.end)) {
    if (field.number === 1) raw.dims.push(...(await file.numbers(field, MAX_DIMENSIONS)));
    else if (field.number === 2) raw.type = Number(field.value);
    else if (field.number === 8) raw.name = await file.text(field);
    else if (field.number === 9) raw.raw = field;
    else if (field.number === 13) await readEntry(file, field, raw.external);
    if (raw.dims.length > MAX_DIMENSIONS) throw file.damaged(`gives an initializer more than ${MAX_DIMENSIONS} dimensions`);
  }
  const { name, dims } = raw;
  if (name === "") throw file.damaged("has an initializer without a name");
  if (dims.some((size) => size > BigInt(Number.MAX_SAFE_INTEGER))) {
    throw file.damaged(
      `gives initializer ${name} a dimension of ${BigInt.asIntN(64, dims.find((size) => size > 2n ** 53n) ?? 0n)}`,
    );
  }
  const shape = dims.map(Number);
  const location = raw.external.get("location");
  const format = FORMATS[raw.type];
  const source = location === undefined ? file.source : await open(location);
  const begin = location === undefined ? (raw.raw?.start ?? 0) : place(file, raw, "offset", 0);
  // Small tensors may be written as typed lists, which nothing here needs.
  if (format === undefined || (location === undefined && raw.raw === undefined)) {
    return { name, tensor: { source, shape, format: { unknown: `ONNX type ${raw.type}` }, begin } };
  }
  const needed = shape.reduce((product, size) => product * size, 1) * LAYOUTS[format].bytes;
  const length = location === undefined ? (raw.raw?.end ?? 0) - begin : place(file, raw, "length", needed);
  if (needed !== length)
    throw file.damaged(`stores initializer ${name} [${shape.join(", ")}] in ${length} bytes; it needs ${needed}`);
  if (begin + length > source.size) throw file.damaged(`places initializer ${name} behind the end of ${source.name}`);
  return { name, tensor: { source, shape, format, begin } };
}

function place(file: ProtoFile, { name, external }: RawTensor, key: string, otherwise: number): number {
  const text = external.get(key);
  if (text === undefined) return otherwise;
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  throw file.damaged(`gives initializer ${name} the ${key} ${JSON.stringify(text).slice(0, 60)}`);
}

async function readEntry(file: ProtoFile, message: ProtoField, entries: Map<string, string>): Promise<void> {
  let [key, value] = ["", ""];
  for await (const field of file.fields(message.start, message.end)) {
    if (field.number === 1) key = await file.text(field);
    else if (field.number === 2) value = await file.text(field);
  }
  if (entries.size >= MAX_DIMENSIONS) throw file.damaged("gives an initializer too many places");
  entries.set(key, value);
}

/** Initializers may be the same bytes, as tied ones are, but not overlap in part. */
function checkOverlaps(file: ProtoFile, tensors: ReadonlyMap<string, PlacedTensor>): void {
  const placed = [...tensors].flatMap(([name, { source, shape, format, begin }]) => {
    if (typeof format !== "string") return [];
    const bytes = shape.reduce((product, size) => product * size, 1) * LAYOUTS[format].bytes;
    return bytes === 0 ? [] : [{ name, source, begin, end: begin + bytes }];
  });
  placed.sort((a, b) =>
    a.source.name < b.source.name ? -1 : a.source.name > b.source.name ? 1 : a.begin - b.begin || a.end - b.end,
  );
  for (const [index, tensor] of placed.entries()) {
    const next = placed[index + 1];
    if (next === undefined || next.source !== tensor.source || next.begin >= tensor.end) continue;
    if (next.begin === tensor.begin && next.end === tensor.end) continue;
    throw file.damaged(`stores initializer ${next.name} over ${tensor.name}`);
  }
}
