import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { duration, percent, plural, sentence, short } from "../../../webview/state/words.ts";

describe("numbers in words", () => {
  it("shortens counts and keeps small ones exact", () => {
    assert.deepEqual([0, 912, 3100, 9849, 999_949, 1_234_567].map(short), ["0", "912", "3.1K", "9.8K", "999.9K", "1.2M"]);
  });

  it("says durations, shares and plurals as people do", () => {
    assert.deepEqual([420, 12_300, 125_000].map(duration), ["0.4 s", "12 s", "2 min 5 s"]);
    assert.deepEqual([0, 0.004, 0.61].map(percent), ["0 %", "< 1 %", "61 %"]);
    assert.deepEqual([plural(1, "file"), plural(1200, "file")], ["1 file", "1,200 files"]);
  });

  it("makes a sentence of an error message", () => {
    assert.equal(sentence("the file is gone"), "The file is gone.");
    assert.equal(sentence("Already one."), "Already one.");
  });
});
