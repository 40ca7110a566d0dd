/** Tiny GGUF files as llama.cpp's converter writes them, with the logits of the numbers they hold: test/golden/gguf, made by test/golden/make/gguf_files.py. */
import { type FamilyCase, readCase, type StoredCase } from "./familyGoldens.ts";
import { goldenFile } from "./goldenModels.ts";

export interface GgufGolden {
  name: string;
  /** The file, from the root of the repository. */
  path: string;
  /** config.json of the model that was converted. */
  config: Record<string, unknown>;
  cases: readonly FamilyCase[];
}

interface StoredGguf {
  name: string;
  config: Record<string, unknown>;
  cases: StoredCase[];
}

const { models } = goldenFile("gguf/expected.json") as { models: StoredGguf[] };

export const ggufGoldens: readonly GgufGolden[] = models.map(({ name, config, cases }) => ({
  name,
  path: `test/golden/gguf/${name}.gguf`,
  config,
  cases: cases.map(readCase),
}));
