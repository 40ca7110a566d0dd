import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";

interface SpecimenCase {
  text: string;
  ids: number[];
  decoded: string;
}

/** Of the model that answers, and of the siblings, which have one in common. */
const bundled = { "ask-5m": "ask_tokenizer", "rope-4m": "tokenizer" };

for (const [name, golden] of Object.entries(bundled))
  describe(`the tokenizer of ${name}`, () => {
    const tokenizer = loadTokenizer(JSON.parse(readFileSync(`media/specimens/${name}/tokenizer.json`, "utf8")));

    it("gives the ids of the tokenizers library", () => {
      const { cases } = JSON.parse(readFileSync(`test/golden/specimens/${golden}.json`, "utf8")) as { cases: SpecimenCase[] };
      assert.ok(cases.length > 20);
      for (const golden of cases) {
        assert.deepEqual([...tokenizer.encode(golden.text, { special: "recognize" })], golden.ids, golden.text);
        assert.equal(tokenizer.decode(golden.ids), golden.decoded);
      }
    });

    it("gives a line the same tokens alone, in its file, and without its indentation", () => {
      const file = readFileSync("engine/errors.ts", "utf8");
      const whole = [...tokenizer.encode(file)];
      const lines = file.split("\n").slice(0, -1);
      assert.deepEqual(
        lines.flatMap((line) => [...tokenizer.encode(line + "\n")]),
        whole,
      );
      for (const line of lines) {
        const trimmed = [...tokenizer.encode(line.trimStart())];
        const full = [...tokenizer.encode(line)];
        assert.deepEqual(full.slice(full.length - trimmed.length), trimmed);
      }
    });
  });
