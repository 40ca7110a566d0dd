/** Tiny safetensors folders packed by AWQ, GPTQ or as 8-bit floats, with the logits of what they stand for: test/golden/packed, made by test/golden/make/packed_files.py. */
import { type FamilyCase, readCase, type StoredCase } from "./familyGoldens.ts";
import { goldenFile } from "./goldenModels.ts";

export interface PackedGolden {
  name: string;
  /** config.json and model.safetensors lie here, from the root of the repository. */
  folder: string;
  config: Record<string, unknown>;
  /** Of each packed matrix [out, in]: the first four values of its first two rows, the last four of its last two, in float64. */
  corners: ReadonlyMap<string, readonly number[]>;
  cases: readonly FamilyCase[];
}

interface StoredPacked {
  name: string;
  config: Record<string, unknown>;
  corners: Record<string, number[]>;
  cases: StoredCase[];
}

const { models } = goldenFile("packed/expected.json") as { models: StoredPacked[] };

export const packedGoldens: readonly PackedGolden[] = models.map(({ name, config, corners, cases }) => ({
  name,
  folder: `test/golden/packed/${name}`,
  config,
  corners: new Map(Object.entries(corners)),
  cases: cases.map(readCase),
}));
