import { type Aligned, replaceAligned } from "./aligned.ts";
import { base64Bytes } from "./base64.ts";
import { asText, type Fields, invalidTokenizer } from "./fields.ts";
import type { Step } from "./normalizers.ts";
import { escapeRegex } from "./regex.ts";

/**
 * The normalizer that SentencePiece compiles into a model (T5, XLM-R): u32 size of a double-array trie in bytes, the trie,
 * then replacements that end in a zero byte. Each unit of the trie is 32 bits: bits 10 and up are the offset to its children
 * (in steps of 256 where bit 9 is set), bit 8 says that a value follows, the lowest 8 bits are the label; bit 31 marks a value.
 */
export function charsMapStep(map: Uint8Array, file: string): Step {
  const chars = new CharsMap(map, file);
  const ascii = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code));
  const changed = ascii.filter((char) => chars.normalize(char) !== char);
  // Most text is ASCII that stays as it is, and nothing is done for what the pattern does not match.
  const clusters = new RegExp([...CLUSTERS, ...changed.map(escapeRegex)].join("|"), "gu");
  return (input: Aligned, poll?: () => void) =>
    clusters.test(input.text) ? replaceAligned(input, reset(clusters), (cluster) => chars.normalize(cluster), poll) : input;
}

/** Reads the `Precompiled` normalizer of tokenizer.json, which holds such a map in base64. */
export function readCharsMap(json: Fields): Step {
  const text = new TextEncoder().encode(asText(json.precompiled_charsmap, "normalizer.precompiled_charsmap"));
  const map = base64Bytes(text, 0, text.length);
  if (!map) throw invalidTokenizer("normalizer.precompiled_charsmap is not base64");
  return charsMapStep(map, "tokenizer.json");
}

/** A character with what combines with it; the rules that cover more than one character lie inside such a cluster. */
const CLUSTERS = [
  String.raw`\r\n`,
  String.raw`[\u1100-\u11ff]+\p{M}*`,
  String.raw`[\0-\x7f]\p{M}+`,
  String.raw`[^\0-\x7f]\p{M}*`,
];
/** Clusters of at least this many UTF-8 bytes are replaced character by character, as the tokenizers library does. */
const LONG_CLUSTER_BYTES = 6;
const MAX_KNOWN = 20_000;

/** A global pattern that begins at the start again. */
function reset(pattern: RegExp): RegExp {
  pattern.lastIndex = 0;
  return pattern;
}

class CharsMap {
  private readonly units: Uint32Array;
  private readonly replacements: Uint8Array;
  private readonly encoder = new TextEncoder();
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** Characters and short clusters met before, and what they become. */
  private readonly known = new Map<string, string>();

  constructor(map: Uint8Array, file: string) {
    const view = new DataView(map.buffer, map.byteOffset, map.byteLength);
    const size = map.length >= 4 ? view.getUint32(0, true) : 0;
    if (size === 0 || size % 4 !== 0 || 4 + size > map.length) throw invalidTokenizer("has a damaged precompiled_charsmap", file);
    this.units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.replacements = map.subarray(4 + size);
  }

  normalize(cluster: string): string {
    if (cluster.length < LONG_CLUSTER_BYTES) return this.remembered(cluster, () => this.normalizeNew(cluster));
    let text = "";
    for (const char of cluster) text += this.normalizeChar(char);
    return text;
  }

  private normalizeNew(cluster: string): string {
    const bytes = this.encoder.encode(cluster);
    const whole = bytes.length < LONG_CLUSTER_BYTES ? this.find(bytes) : undefined;
    return whole ?? Array.from(cluster, (char) => this.normalizeChar(char)).join("");
  }

  private normalizeChar(char: string): string {
    return this.remembered(char, () => this.find(this.encoder.encode(char)) ?? char);
  }

  private remembered(text: string, make: () => string): string {
    const found = this.known.get(text);
    if (found !== undefined) return found;
    const made = make();
    if (this.known.size < MAX_KNOWN) this.known.set(text, made);
    return made;
  }

  /** What the shortest entry that begins these bytes is replaced by. */
  private find(bytes: Uint8Array): string | undefined {
    const { units } = this;
    let node = offsetOf(units[0]);
    for (const byte of bytes) {
      if (byte === 0) return undefined;
      node ^= byte;
      const unit = units[node];
      if (unit === undefined || (unit & 0x800000ff) !== byte) return undefined;
      node ^= offsetOf(unit);
      if (((unit >>> 8) & 1) === 1) return this.replacement((units[node] ?? 0) & 0x7fffffff);
    }
    return undefined;
  }

  private replacement(start: number): string {
    const end = this.replacements.indexOf(0, start);
    return this.decoder.decode(this.replacements.subarray(start, end < 0 ? undefined : end));
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
