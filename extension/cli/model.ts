import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { ModelSpec, RopeChoice } from "../../engine/api.ts";
import { formatAttention } from "../../engine/attention/policy.ts";
import { WHOLE } from "../../engine/attention/wholeOnly.ts";
import { EngineError } from "../../engine/errors.ts";
import type { PrefixStore } from "../../engine/kv-cache/api.ts";
import { loadModel } from "../../engine/models/load.ts";
import { parseRope } from "../../engine/position/ropeJson.ts";
import { openSession, type Session } from "../../engine/session.ts";
import { bundledModelFolder, readModelFolder } from "../models/location.ts";
import { nodeModelFiles } from "../models/nodeFiles.ts";
import type { ModelArgs, OpenArgs } from "./args.ts";
import { type Output, ProgressLine } from "./output.ts";
import { openRuntime } from "./runtime.ts";

/** A model whose configuration was read, so that wrong settings are told before its weights are. */
export interface CheckedModel {
  /** A folder, or a GGUF file. */
  path: string;
  spec: ModelSpec;
}

/** Checks the model and reads its headers; `needsTokenizer` is false where only token ids are handed in. Throws what `readModelFolder` and `loadModel` throw. */
export async function checkModel(
  model: string | undefined,
  packageRoot: string,
  signal: AbortSignal | undefined,
  needsTokenizer = true,
): Promise<CheckedModel> {
  const wanted = model === undefined ? bundledModelFolder(packageRoot) : resolve(model);
  const { path } = await readModelFolder(wanted, needsTokenizer);
  const files = nodeModelFiles(path);
  try {
    return { path, spec: (await loadModel(files, signal)).spec };
  } finally {
    await files.close();
  }
}

/** A RoPE setting as written, or what the named .json file holds. */
export async function ropeText(written: string): Promise<string> {
  if (!written.endsWith(".json")) return written;
  try {
    return await readFile(written, "utf8");
  } catch {
    throw new EngineError("not-found", `the RoPE setting "${written}" cannot be read`, "give the path of a JSON file");
  }
}

/** What was asked for must change something. */
export function checkAttends(
  { attention, kv }: Partial<Pick<ModelArgs, "attention" | "kv">>,
  { kind, modelType }: ModelSpec,
): void {
  const isPlain = attention === undefined || formatAttention(attention) === formatAttention(WHOLE);
  if (kind === "decoder" || (isPlain && kv === undefined)) return;
  const option = kv === undefined ? "--attention" : "--kv";
  const message = `${modelType} has no attention and caches no keys and values, so that ${option} would change nothing`;
  throw new EngineError("bad-argument", message, `leave ${option} out`);
}

/** Opens the model the arguments name, shows how far its weights are read, runs `use` and closes everything. */
export async function withSession<Result>(
  args: OpenArgs & Pick<ModelArgs, "rope"> & Partial<Pick<ModelArgs, "attention" | "kv">>,
  packageRoot: string,
  output: Output,
  signal: AbortSignal,
  use: (session: Session, rope: RopeChoice) => Promise<Result>,
  { idsOnly = false, prefixes }: { idsOnly?: boolean; prefixes?: PrefixStore | undefined } = {},
): Promise<Result> {
  const { path, spec } = await checkModel(args.model, packageRoot, signal, !idsOnly);
  const rope = parseRope(await ropeText(args.rope), spec);
  checkAttends(args, spec);
  const files = nodeModelFiles(path);
  const progress = new ProgressLine(output);
  let session: Session | undefined;
  try {
    session = await openSession(files, await openRuntime(args.backend, packageRoot, path), {
      backend: args.backend,
      weightFormat: args.weightFormat,
      products: args.products,
      ...(args.kv === undefined ? {} : { kv: args.kv }),
      idsOnly,
      prefixes,
      signal,
      onProgress: (stage, doneBytes, totalBytes) => {
        const fraction = totalBytes === 0 ? 0 : doneBytes / totalBytes;
        if (output.terminal) progress.show(`${stage}, ${Math.floor(100 * fraction)} %`, fraction);
      },
    });
    progress.clear();
    return await use(session, rope);
  } finally {
    progress.clear();
    session?.close();
    await files.close();
  }
}
