import { copyFile, mkdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseSpec } from "../../engine/models/spec.ts";
import { tensorShapes } from "../../engine/models/weights.ts";

/**
 * Writes a Llama of one thin layer and a wide vocabulary whose weights are all zero: `model.safetensors` of a little over
 * `4 * vocabSize * 64` bytes, most of it a hole in the file. It can be opened and asked, and answers nonsense.
 */
export async function writeLargeModel(folder: string, vocabSize: number): Promise<void> {
  const config = {
    ...{ model_type: "llama", vocab_size: vocabSize, hidden_size: 64, intermediate_size: 64, num_hidden_layers: 1 },
    ...{ num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 512, rms_norm_eps: 1e-5 },
    ...{ tie_word_embeddings: true, prompt_format: "plain" },
  };
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const [name, shape] of tensorShapes(parseSpec(config))) {
    const begin = end;
    end += 4 * shape.reduce((product, size) => product * size, 1);
    header[name] = { dtype: "F32", shape, data_offsets: [begin, end] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  await copyFile("media/specimens/ask-5m/tokenizer.json", join(folder, "tokenizer.json"));
  const weights = join(folder, "model.safetensors");
  await writeFile(weights, Buffer.concat([length, text]));
  await truncate(weights, 8 + text.length + end);
}
