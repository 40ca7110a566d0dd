import { missingRows, missingText, missingTokens } from "../../../engine/pack/api.ts";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeBody } from "../../../engine/pack/body.ts";
import { excerptOf } from "../../../engine/pack/excerpt.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { tinyTokenizerJson } from "../../support/tinyModel.ts";

describe("an excerpt", () => {
  const body = encodeBody({ lines: Array.from({ length: 400 }, () => "abc"), repaired: false }, loadTokenizer(tinyTokenizerJson));
  const each = body.ids.length / 400;

  it("is as wide as there is room, around every line that is wanted, with more behind it than in front", () => {
    assert.deepEqual(excerptOf(body, [200], each * 241), [{ first: 120, last: 360 }]);
    assert.deepEqual(excerptOf(body, [200], each * 241 - 1), [{ first: 160, last: 280 }]);
    assert.deepEqual(excerptOf(body, [200], each * 16), [{ first: 195, last: 210 }]);
    assert.deepEqual(excerptOf(body, [100, 300], each * 32), [
      { first: 95, last: 110 },
      { first: 295, last: 310 },
    ]);
  });

  it("ends with the file, and joins what touches", () => {
    assert.deepEqual(excerptOf(body, [1, 12, 400], each * 43), [
      { first: 1, last: 32 },
      { first: 390, last: 400 },
    ]);
    assert.deepEqual(excerptOf(body, [3], 1e9), [{ first: 1, last: 163 }]);
  });

  it("has the first where not all have room, and none where not one has", () => {
    assert.deepEqual(excerptOf(body, [100, 200, 300], each * 35), [
      { first: 95, last: 110 },
      { first: 195, last: 210 },
    ]);
    assert.equal(excerptOf(body, [100], each * 16 - 1), undefined);
    assert.equal(excerptOf(body, [], 1000), undefined);
    assert.equal(excerptOf(body, [100], -5), undefined);
  });
});

describe("what is missing in a prompt", () => {
  const whole = { path: "a", tokens: 10, included: true, reason: "" };
  const part = { path: "b", tokens: 10, included: true, wholeTokens: 25, reason: "" };
  const out = { path: "c", tokens: 7, included: false, reason: "" };

  it("is told in tokens and in words", () => {
    assert.deepEqual([whole, part, out].map(missingTokens), [0, 15, 7]);
    assert.deepEqual(missingRows([whole, part, out]), [part, out]);
    assert.equal(missingText([whole]), "");
    assert.equal(missingText([whole, out]), "1 file does not fit");
    assert.equal(missingText([part, out, out]), "2 files do not fit, 1 fits only in part");
    assert.equal(missingText([part, part]), "2 files fit only in part");
  });
});
