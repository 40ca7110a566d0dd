import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BlockWriter, LINES_PER_BLOCK } from "../../../webview/components/textBlocks.ts";

/** What a page would hold, and how much work it was. */
function page() {
  const work = { blocks: [] as string[], appends: 0, characters: 0, clears: 0 };
  const writer = new BlockWriter({
    open: () => void work.blocks.push(""),
    append: (text) => {
      work.appends++;
      work.characters += text.length;
      work.blocks.push((work.blocks.pop() ?? "") + text);
    },
    clear: () => {
      work.clears++;
      work.blocks.length = 0;
    },
  });
  return { work, writer };
}

const lines = Array.from({ length: 10_000 }, (_, index) => `line ${index} of the answer`);

describe("a text in blocks", () => {
  it("streams ten thousand lines with work that grows with what is new, not with what is there", () => {
    const { work, writer } = page();
    const text = lines.join("\n");
    let steps = 0;
    for (let end = 53; end < text.length + 53; end += 53) {
      writer.write(text.slice(0, end));
      steps++;
    }
    assert.equal(work.blocks.join("\n"), text);
    assert.equal(work.blocks.length, lines.length / LINES_PER_BLOCK);
    assert.equal(work.clears, 1, "only before the first text");
    assert.equal(work.characters, text.length - (work.blocks.length - 1), "every character is written once");
    assert.ok(work.appends <= steps + work.blocks.length, `${work.appends} appends in ${steps} steps`);
  });

  it("shows a finished text of ten thousand lines in as few nodes, and nothing again when it is the same", () => {
    const { work, writer } = page();
    const text = lines.join("\n");
    writer.write(text);
    assert.deepEqual([work.blocks.length, work.appends], [50, 50]);
    writer.write(text);
    assert.equal(work.appends, 50);
  });

  it("begins anew where the text does not go on, and ends with nothing where it is empty", () => {
    const { work, writer } = page();
    writer.write("const a = 1;");
    writer.write("const b = 2;");
    assert.deepEqual(work.blocks, ["const b = 2;"]);
    writer.write("");
    assert.deepEqual(work.blocks, []);
    writer.write("\n\nafter two empty lines");
    assert.deepEqual(work.blocks, ["\n\nafter two empty lines"]);
  });
});
