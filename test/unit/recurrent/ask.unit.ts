/** A recurrent model behind a session: questions, follow-ups from the kept state, and what such a model cannot show. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Runtime } from "../../../engine/api.ts";
import { WHOLE } from "../../../engine/attention/wholeOnly.ts";
import type { AskRequest } from "../../../engine/generate/api.ts";
import { openSession } from "../../../engine/session.ts";
import { memoryFiles, safetensorsFile } from "../../support/memoryFiles.ts";
import { randomConfigs, randomRecurrent } from "../../support/recurrentModels.ts";
import { memoryWorkspace, tinyTokenizerJson } from "../../support/tinyModel.ts";

const runtime: Runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };
const never = new AbortController().signal;
const ignore = () => undefined;

const CONTENTS = {
  "src/a.ts": "export const limit = 3;\nfunction go() {\n  return limit;\n}\n",
  "src/b.ts": "import { limit } from './a';\nexport const twice = 2 * limit;\n",
};

function request(question: string, extra: Partial<AskRequest> = {}): AskRequest {
  const { files, readFile } = memoryWorkspace(CONTENTS);
  return {
    ...{ question, files, readFile, history: [], quote: "constrained", maxAnswerTokens: 40 },
    rope: { kind: "auto" },
    attention: WHOLE,
    sampling: { temperature: 0, topP: 1, seed: 1 },
    ...extra,
  };
}

describe("a session with a recurrent model", () => {
  for (const kind of ["mamba", "mamba2", "rwkv7"] as const) {
    it(`${kind}: quotes a line, and a follow-up goes on from a kept state`, async () => {
      const extra = {
        vocab_size: 320,
        eos_token_id: [0],
        absent_token_id: 2,
        prompt_format: "extractive",
        max_position_embeddings: 1024,
      };
      const { tensors } = randomRecurrent(kind, extra);
      const files = memoryFiles({
        "config.json": JSON.stringify({ ...randomConfigs[kind], ...extra }),
        "tokenizer.json": JSON.stringify(tinyTokenizerJson),
        "model.safetensors": safetensorsFile(Object.fromEntries(tensors)),
      });
      const session = await openSession(files, runtime, { backend: "reference", weightFormat: "f32" });
      const first = await session.ask(request("Where is `limit` defined?"), never, ignore);
      assert.equal(first.reusedTokens, 0);
      assert.ok(Object.values(CONTENTS).some((text) => text.includes(first.answer)) || first.absent);
      assert.deepEqual(first.lookedAt, [], "there is no attention that could say where it looked");
      assert.deepEqual(session.info.tap.layers, []);
      const again = await session.ask(request("Where is `limit` defined?"), never, ignore);
      assert.equal(again.answer, first.answer);
      assert.equal(again.reusedTokens, first.promptTokens - 1, "the same question costs one token");
      const edges = Uint32Array.of(0, 10);
      await assert.rejects(session.pool({ layer: "mean", head: "mean", queryEdges: edges, keyEdges: edges }), {
        code: "bad-argument",
        message: /no attention/,
      });
      await assert.rejects(session.ask(request("What?", { rope: { kind: "linear", factor: 2 } }), never, ignore), {
        code: "rope-invalid",
      });
      session.close();
    });
  }
});
