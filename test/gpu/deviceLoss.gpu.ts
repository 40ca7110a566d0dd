/** A device that is lost in the middle of a prompt: the run goes on from the last pages that were kept, to the same tokens. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Runtime } from "../../engine/api.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import type { AskEvent, AskRequest } from "../../engine/generate/api.ts";
import { openSession } from "../../engine/session.ts";
import { MemoryPrefixes } from "../support/memoryPrefixes.ts";
import { requireGpu } from "../support/requireDevice.ts";
import { memoryWorkspace, tinyModelFiles } from "../support/tinyModel.ts";

const lines = Array.from({ length: 66 }, (_, index) => `export const berth${index} = ${index * 37};\n`).join("");

for (const attention of ["flash", "sinks:4,600"]) {
  describe(`losing the device in mid-prefill under ${attention}`, () => {
    it("computes no more than what followed the last checkpoint, and ends with the same tokens", async () => {
      const { gpu } = await requireGpu();
      const runtime: Runtime = { gpu, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };
      const { files, readFile } = memoryWorkspace({ "src/berths.ts": lines });
      const request: AskRequest = {
        ...{ question: "Where is berth7 defined?", files, readFile, history: [], rope: { kind: "auto" }, quote: "free" },
        ...{ attention: parseAttention(attention), sampling: { temperature: 0, topP: 1, seed: 1 }, maxAnswerTokens: 12 },
      };
      const never = new AbortController().signal;
      const open = () =>
        openSession(tinyModelFiles({ maxPositions: 65536 }), runtime, {
          ...{ backend: "wgsl", weightFormat: "f32" },
          prefixes: new MemoryPrefixes(),
        });
      const whole = await open();
      const expected = await whole.ask(request, never, () => undefined);
      assert(expected.promptTokens > 1540, `${expected.promptTokens} tokens reach beyond a checkpoint`);
      whole.close();

      const session = await open();
      const events: AskEvent[] = [];
      let lost = false;
      const result = await session.ask(request, never, (event) => {
        events.push(event);
        if (lost || event.type !== "prefill" || event.doneTokens < 1100) return;
        lost = session.loseDevice();
      });
      assert(lost);
      assert.equal(events.filter(({ type }) => type === "recovered").length, 1);
      assert(result.restoredTokens >= 1024, `${result.restoredTokens} tokens came from the checkpoint`);
      assert.equal(result.answer, expected.answer);
      assert.equal(result.backend, "wgsl", "the device was opened again");
      session.close();
    });
  });
}
