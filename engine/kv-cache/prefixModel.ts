/**
 * Tells models apart: the SHA-256 of the spec, of every tensor's name, shape and format, and of a sample of its numbers, one row from its
 * middle. Training changes nearly every row of what it changes at all, so another checkpoint of the same training has another hash; a file
 * in which single rows were edited by hand may not. Reading all weights would take as long as loading the model once more.
 */
import type { ModelSpec, WeightStore } from "../api.ts";
import { throwIfAborted } from "../errors.ts";
import { tensorShapes } from "../models/weights.ts";
import { hex, sha256 } from "./sha256.ts";

/** Numbers of a vector that are looked at. */
const VECTOR_NUMBERS = 64;
/** A panel reads every piece by a request of its own, so several are under way. */
const READS_AT_ONCE = 8;

/** What ends an answer and how a prompt is written say nothing about keys and states. */
const UNSEEN: ReadonlySet<string> = new Set(["bosTokenId", "eosTokenIds", "absentTokenId", "promptFormat", "answerLines"]);

export async function modelHash(spec: ModelSpec, weights: WeightStore, signal?: AbortSignal): Promise<string> {
  const facts = JSON.stringify(spec, (name, value: unknown) =>
    UNSEEN.has(name) ? undefined : value === Infinity ? "Infinity" : value,
  );
  const tensors = [...tensorShapes(spec)];
  const lines: string[] = new Array<string>(tensors.length).fill("");
  let next = 0;
  const reader = async (): Promise<void> => {
    for (let index = next++; index < tensors.length; index = next++) {
      throwIfAborted(signal);
      const [name, shape] = tensors[index] ?? ["", []];
      lines[index] = await tensorLine(spec, weights, name, shape, signal);
    }
  };
  await Promise.all(Array.from({ length: READS_AT_ONCE }, reader));
  return hex(await sha256(new TextEncoder().encode([facts, ...lines].join("\n"))));
}

async function tensorLine(
  spec: ModelSpec,
  weights: WeightStore,
  name: string,
  shape: readonly number[],
  signal: AbortSignal | undefined,
): Promise<string> {
  const format = weights.format(name);
  const facts = `${name} ${shape.join("x")} ${format}`;
  if (isPacked(format) && !isSampledLayer(spec, name)) return facts;
  const rows = shape[0] ?? 1;
  const [start, end] =
    shape.length === 1 ? [0, Math.min(rows, VECTOR_NUMBERS)] : [Math.floor(rows / 2), Math.floor(rows / 2) + 1];
  return `${facts} ${hex(await sha256(await weights.readBytes(name, start, end, signal)))}`;
}

/** Where codes of several rows share words, a row costs as much as the whole matrix, so three layers stand for all. */
function isPacked(format: string): boolean {
  return format === "affine4" || format === "affine8";
}

function isSampledLayer({ layerCount }: ModelSpec, name: string): boolean {
  const layer = /\.layers\.(\d+)\./.exec(name)?.[1];
  return layer === undefined || [0, Math.floor(layerCount / 2), layerCount - 1].includes(Number(layer));
}
