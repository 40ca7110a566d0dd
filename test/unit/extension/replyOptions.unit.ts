import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { replyOptions } from "../../../extension/chat/replyOptions.ts";

describe("options of a request to a model", () => {
  it("are read by the names that chat APIs give them", () => {
    const given = { temperature: 0.7, top_p: 0.9, seed: 5, max_tokens: 20 };
    assert.deepEqual(replyOptions(given, 256), {
      maxAnswerTokens: 20,
      sampling: { temperature: 0.7, topP: 0.9, seed: 5 },
      unused: [],
    });
    assert.deepEqual(replyOptions({ topP: 1, maxTokens: 3 }, 256), { maxAnswerTokens: 3, sampling: { topP: 1 }, unused: [] });
  });

  it("leave to the panel's settings what they do not say, and no reply gets longer than the model allows", () => {
    for (const given of [undefined, {}, { temperature: undefined, seed: null }])
      assert.deepEqual(replyOptions(given, 256), { maxAnswerTokens: 256, sampling: {}, unused: [] });
    assert.equal(replyOptions({ max_tokens: 100_000 }, 256).maxAnswerTokens, 256);
  });

  it("name what nothing is done with", () => {
    assert.deepEqual(replyOptions({ stop: ["x"], temperature: 0 }, 9).unused, ["stop"]);
  });

  it("are refused where they make no sense, with what they take", () => {
    for (const given of [
      { temperature: -1 },
      { temperature: "0.5" },
      { top_p: 0 },
      { top_p: 1.5 },
      { seed: 1.5 },
      { seed: -1 },
      { max_tokens: 0 },
      { max_tokens: Number.NaN },
    ])
      assert.throws(
        () => replyOptions(given, 9),
        (error) => EngineError.is(error, "bad-argument") && /takes/.test(error.message),
        JSON.stringify(given),
      );
  });
});
