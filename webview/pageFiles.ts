/** What only the page can fetch for the worker: ranges of model files and the WASM runtime. */
import { EngineError } from "../engine/errors.ts";
import type { ModelLocation } from "./protocol/panel.ts";

/** Exactly `length` bytes of a model file at `offset`, by a Range request: a whole fetch would be stored twice by VS Code. */
export async function readModelRange(
  model: ModelLocation,
  name: string,
  offset: number,
  length: number,
  signal: AbortSignal,
): Promise<ArrayBuffer> {
  if (length === 0) return new ArrayBuffer(0);
  const file = model.files.find((listed) => listed.name === name);
  if (file === undefined) throw unread(model, name, "it is none of the model's files", {});
  const response = await fetchRange(model, file, offset, length, signal);
  if (response.status !== 206) throw unread(model, name, String(response.status), { status: response.status });
  const bytes = await response.arrayBuffer();
  if (bytes.byteLength !== length) {
    throw new EngineError(
      "bad-weights",
      `${name} is shorter than it was`,
      "choose the model again, so that its files are measured anew",
      {
        wantBytes: length,
        haveBytes: bytes.byteLength,
      },
    );
  }
  return bytes;
}

async function fetchRange(
  model: ModelLocation,
  { name, uri }: ModelLocation["files"][number],
  offset: number,
  length: number,
  signal: AbortSignal,
): Promise<Response> {
  try {
    return await fetch(uri, { headers: { Range: `bytes=${offset}-${offset + length - 1}` }, signal });
  } catch (error) {
    // What a connection that failed throws has no cause in it.
    if (error instanceof TypeError) throw unread(model, name, "no connection to the extension", {});
    throw error;
  }
}

function unread(model: ModelLocation, name: string, because: string, facts: Record<string, number>): EngineError {
  const remedy = `check that ${model.label} still has this file, or choose the model again`;
  return new EngineError("not-found", `${name} could not be read (${because})`, remedy, facts);
}

/** The bytes of onnxruntime-web's WASM binary. */
export async function readOrtWasm(uri: string, signal: AbortSignal): Promise<ArrayBuffer> {
  const response = await fetch(uri, { signal });
  if (!response.ok) {
    throw new EngineError(
      "not-found",
      `the WASM runtime could not be read (${response.status})`,
      "reload the window, or reinstall the extension",
    );
  }
  return response.arrayBuffer();
}
