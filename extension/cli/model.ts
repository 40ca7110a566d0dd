import { resolve } from "node:path";
import type { ModelSpec, RopeChoice } from "../../engine/api.ts";
import { EngineError } from "../../engine/errors.ts";
import { parseSpec } from "../../engine/models/spec.ts";
import { parseRope } from "../../engine/position/ropeJson.ts";
import { openSession, type Session } from "../../engine/session.ts";
import { bundledModelFolder, readModelFolder } from "../models/location.ts";
import { nodeModelFiles } from "../models/nodeFiles.ts";
import type { ModelArgs } from "./args.ts";
import { type Output, ProgressLine } from "./output.ts";
import { openRuntime } from "./runtime.ts";

/** A model folder whose configuration was read, so that wrong settings are told before its weights are. */
export interface CheckedModel {
  folder: string;
  spec: ModelSpec;
}

/** Checks the folder and reads its config.json; throws what `readModelFolder` and `parseSpec` throw. */
export async function checkModel(model: string | undefined, packageRoot: string): Promise<CheckedModel> {
  const { folder } = await readModelFolder(model === undefined ? bundledModelFolder(packageRoot) : resolve(model));
  const text = (await nodeModelFiles(folder).text("config.json")) ?? "";
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    throw new EngineError("unsupported-model", `config.json is not JSON: ${because}`, "download the file again", { folder });
  }
  return { folder, spec: parseSpec(config) };
}

/** Opens the model the arguments name, shows how far its weights are read, runs `use` and closes everything. */
export async function withSession<Result>(
  args: ModelArgs,
  packageRoot: string,
  output: Output,
  signal: AbortSignal,
  use: (session: Session, rope: RopeChoice) => Promise<Result>,
): Promise<Result> {
  const { folder, spec } = await checkModel(args.model, packageRoot);
  const rope = parseRope(args.rope, spec);
  const files = nodeModelFiles(folder);
  const progress = new ProgressLine(output);
  let session: Session | undefined;
  try {
    session = await openSession(files, await openRuntime(args.backend, packageRoot), {
      backend: args.backend,
      weightFormat: args.weightFormat,
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
