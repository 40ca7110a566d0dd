import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nameId, nameIds, namesIn } from "../../../engine/pack/names.ts";

function definesOf(text: string): Int32Array {
  return namesIn(text).definitions;
}

describe("names of a text", () => {
  it("are definitions behind a keyword of any language, and references elsewhere", () => {
    const text =
      "def tide_level(hour):\nfunc (s *Server) Listen() {}\npub fn crunch<T>() {}\nstruct Größe;\nfunction* walk() {}\n";
    const { definitions, references } = namesIn(text);
    assert.deepEqual(definitions, nameIds(["tide_level", "Listen", "crunch", "Größe", "walk"]));
    assert.ok(references.includes(nameId("hour")));
    assert.ok(!references.includes(nameId("s")), "too short to say anything");
  });

  it("are each one once, and what is defined is not also used", () => {
    const { definitions, references } = namesIn("const total = 1;\nshow(total, total, other, other);\n");
    assert.deepEqual(definitions, nameIds(["total"]));
    assert.deepEqual(references, nameIds(["show", "other", "const"]));
  });

  it("need the keyword as a word of its own and the name right behind it", () => {
    assert.deepEqual(definesOf("classify(Boat); myclass Pier"), nameIds([]));
    assert.deepEqual(definesOf("func(\n) Ferry"), nameIds([]));
    assert.deepEqual(definesOf("class"), nameIds([]));
  });

  it("are found in linear time where a receiver never ends", () => {
    // A search for the bracket from each of 200,000 places would not end while somebody waits.
    assert.deepEqual(definesOf("func ( ".repeat(200_000)), nameIds([]));
  });
});
