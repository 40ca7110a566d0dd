/** <lc-text>: a text of any length. What is added is appended; blocks that are whole are laid out only where they are in view. */
import { BlockWriter } from "./textBlocks.ts";

export class AnswerText extends HTMLElement {
  private last: Text | undefined;
  private readonly writer = new BlockWriter({
    open: () => {
      this.lastElementChild?.classList.add("whole");
      const block = document.createElement("div");
      block.className = "lines";
      block.dir = "auto";
      this.last = document.createTextNode("");
      block.append(this.last);
      this.append(block);
    },
    append: (text) => this.last?.appendData(text),
    clear: () => {
      this.replaceChildren();
      this.last = undefined;
    },
  });

  set text(text: string) {
    this.writer.write(text);
  }
}
