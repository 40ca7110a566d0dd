import { asCount, asFields, asFlag, asList, asText, unsupportedTokenizer } from "./fields.ts";
import type { TextStream } from "./tokenizer.ts";
import type { Vocabulary } from "./vocabulary.ts";

/**
 * Reads the `decoder` of tokenizer.json. Token bytes already say what Replace, ByteFallback and ByteLevel do; what
 * remains is how many leading blanks are dropped.
 */
export function readDecoder(json: unknown): { stripStart: number } {
  if (json === undefined || json === null) return { stripStart: 0 };
  const fields = asFields(json, "decoder");
  const type = asText(fields.type, "decoder.type");
  switch (type) {
    case "Sequence": {
      const parts = asList(fields.decoders, "decoder.decoders").map(readDecoder);
      return { stripStart: parts.reduce((sum, part) => sum + part.stripStart, 0) };
    }
    case "ByteLevel":
    case "ByteFallback":
    case "Fuse":
      return { stripStart: 0 };
    case "Replace": {
      const pattern = asFields(fields.pattern, "decoder.pattern").String;
      if (pattern !== "\u2581" || fields.content !== " ")
        throw unsupportedTokenizer("a decoder Replace other than U+2581 by a blank");
      return { stripStart: 0 };
    }
    case "Strip": {
      if (fields.content !== " ") throw unsupportedTokenizer("a decoder Strip of something else than blanks");
      if (asCount(fields.stop, "decoder.stop") !== 0) throw unsupportedTokenizer("a decoder Strip at the end");
      return { stripStart: asCount(fields.start, "decoder.start") };
    }
    case "Metaspace": {
      const prepends =
        fields.prepend_scheme === undefined
          ? asFlag(fields.add_prefix_space, true, "decoder.add_prefix_space")
          : fields.prepend_scheme !== "never";
      return { stripStart: prepends ? 1 : 0 };
    }
    default:
      throw unsupportedTokenizer(`the decoder ${type}`);
  }
}

/** Token bytes to text; bytes of an unfinished character wait for the next token. */
export class TokenStream implements TextStream {
  private readonly utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(
    private readonly vocabulary: Pick<Vocabulary, "tokenBytes" | "specialIds">,
    private stripStart: number,
    private readonly skipSpecial: boolean,
  ) {}

  push(id: number): string {
    const bytes = this.vocabulary.tokenBytes(id);
    if (this.skipSpecial && this.vocabulary.specialIds.has(id)) return "";
    return this.strip(this.utf8.decode(bytes, { stream: true }));
  }

  end(): string {
    return this.strip(this.utf8.decode());
  }

  private strip(text: string): string {
    let kept = text;
    while (this.stripStart > 0 && kept !== "") {
      if (!kept.startsWith(" ")) this.stripStart = 0;
      else {
        kept = kept.slice(1);
        this.stripStart--;
      }
    }
    return kept;
  }
}
