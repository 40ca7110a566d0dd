import { type Aligned, prependAligned, replaceAligned, swapAligned } from "./aligned.ts";
import { asFields, asList, asText, unsupportedTokenizer } from "./fields.ts";
import { convertRegex, literalRegex } from "./regex.ts";

/** One normalizer: text in, text out, offsets kept. `poll` is called now and then, and ends the work by throwing. */
export interface Step {
  (input: Aligned, poll?: () => void): Aligned;
  /** ASCII text comes out as it went in. */
  readonly keepsAscii?: boolean;
}

/** Reads the `normalizer` of tokenizer.json; null means none. */
export function readNormalizer(json: unknown): readonly Step[] {
  if (json === undefined || json === null) return [];
  const fields = asFields(json, "normalizer");
  const type = asText(fields.type, "normalizer.type");
  switch (type) {
    case "Sequence":
      return asList(fields.normalizers, "normalizer.normalizers").flatMap(readNormalizer);
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return [unicodeForm(type)];
    case "Lowercase":
      return [(input, poll) => replaceAligned(input, /[\s\S]/gu, (char) => char.toLowerCase(), poll)];
    case "Prepend": {
      const prefix = asText(fields.prepend, "normalizer.prepend");
      return [(input) => (input.text === "" ? input : prependAligned(input, prefix))];
    }
    case "Replace": {
      const pattern = readPattern(fields.pattern, "normalizer.pattern");
      const content = asText(fields.content, "normalizer.content");
      const { String: literal } = asFields(fields.pattern, "normalizer.pattern");
      if (typeof literal === "string" && literal.length === 1 && content.length === 1)
        return [(input) => swapAligned(input, literal, content)];
      return [(input, poll) => replaceAligned(input, pattern, () => content, poll)];
    }
    default:
      throw unsupportedTokenizer(`the normalizer ${type}`);
  }
}

/** `{"String": ...}` or `{"Regex": ...}`, as Replace and Split write it. */
export function readPattern(json: unknown, where: string): RegExp {
  const fields = asFields(json, where);
  if (fields.String !== undefined) return literalRegex(asText(fields.String, where));
  return convertRegex(asText(fields.Regex, where));
}

/** Runs that normalise on their own: a starter with its marks, or a run of Hangul jamo, which compose with each other. */
const CLUSTER = /[\u1100-\u11ff]+\p{M}*|\P{M}\p{M}*|\p{M}+/gu;

function unicodeForm(form: "NFC" | "NFD" | "NFKC" | "NFKD"): Step {
  const step = (input: Aligned, poll?: () => void) => {
    if (input.text.normalize(form) === input.text) return input;
    return replaceAligned(input, CLUSTER, (cluster) => cluster.normalize(form), poll);
  };
  return Object.assign(step, { keepsAscii: true });
}
