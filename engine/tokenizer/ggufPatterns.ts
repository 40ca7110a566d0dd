import { patterns } from "./presets.ts";

/** What a `tokenizer.ggml.pre` stands for. */
export interface GgufPattern {
  /** Each cuts the pieces of the one before: what it matches and what lies between become pieces. */
  readonly split: readonly string[];
  /** A piece that is a token is taken whole. */
  readonly ignoreMerges: boolean;
  /** Whether a BOS goes in front when the file does not say. */
  readonly addBos: boolean;
}

/** The pattern of a `tokenizer.ggml.pre`, as llama.cpp names them; undefined for a name that is not known here. */
export function ggufPattern(name: string): GgufPattern | undefined {
  const row = TABLE.find(({ names }) => names.includes(name));
  return row && { split: row.split, ignoreMerges: row.whole ?? false, addBos: row.bos ?? false };
}

interface Row {
  names: readonly string[];
  split: readonly string[];
  whole?: true;
  bos?: true;
}

const CONTRACTION = String.raw`(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])`;
const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const TAIL = String.raw`| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const LEAD = String.raw`[^\r\n\p{L}\p{N}]?`;
const TEKKEN = String.raw`${LEAD}${UPPER}*${LOWER}+|${LEAD}${UPPER}+${LOWER}*|\p{N}${TAIL}`;
const QWEN35 = String.raw`${CONTRACTION}|${LEAD}[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const CJK_NAMES = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
const DEEPSEEK3 = String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${"`"}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
/** Words of Han are pieces of their own, and no Han is in the words of other scripts. */
const NOT_HAN_UPPER = String.raw`(?:(?!\p{Han})${UPPER})`;
const NOT_HAN_LOWER = String.raw`(?:(?!\p{Han})${LOWER})`;
const KIMI = [
  String.raw`\p{Han}+`,
  `${LEAD}${NOT_HAN_UPPER}*${NOT_HAN_LOWER}+${CONTRACTION}?`,
  `${LEAD}${NOT_HAN_UPPER}+${NOT_HAN_LOWER}*${CONTRACTION}?`,
  String.raw`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
].join("|");

const TABLE: readonly Row[] = [
  {
    names: ["gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "gigachat", "a.x-4.0", "mellum"],
    split: [patterns.GPT2],
  },
  { names: ["modern-bert", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de"], split: [patterns.GPT2] },
  { names: ["roberta-bpe", "jina-v1-en", "jina-v2-code"], split: [patterns.GPT2] },
  {
    names: ["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
    split: [patterns.LLAMA3],
    whole: true,
    bos: true,
  },
  { names: ["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], split: [patterns.LLAMA3] },
  {
    names: ["qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez", "solar-open", "grok-2", "kormo", "f2llmv2"],
    split: [patterns.QWEN2],
  },
  { names: ["qwen35"], split: [QWEN35] },
  { names: ["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], split: [patterns.O200K] },
  { names: ["tekken"], split: [TEKKEN], whole: true, bos: true },
  {
    names: ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
    split: [String.raw`\p{N}`, patterns.GPT2],
  },
  {
    names: ["deepseek-coder"],
    split: [
      "[\r\n]",
      String.raw`\s?\p{L}+`,
      String.raw`\s?\p{P}+`,
      "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
      String.raw`\p{N}`,
    ],
  },
  {
    names: ["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
    split: [String.raw`\p{N}{1,3}`, CJK_NAMES, DEEPSEEK3],
  },
  { names: ["kimi-k2"], split: [KIMI] },
  { names: ["falcon"], split: [String.raw`[\p{P}\$\+<=>\^~\|${"`"}]+`, patterns.GPT2, "[0-9][0-9][0-9]"] },
  { names: ["bloom", "poro-chat", "gpt3-finnish"], split: [" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"] },
  { names: ["viking"], split: [" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+", String.raw`\p{N}`] },
  {
    names: ["seed-coder"],
    split: [String.raw`${CONTRACTION}|${LEAD}\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+`],
  },
  {
    names: ["bailingmoe", "bailingmoe2", "llada-moe"],
    split: [String.raw`${CONTRACTION}|${LEAD}\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`],
  },
  { names: ["default"], split: [String.raw`[\p{P}\$\+<=>\^~\|]+`, patterns.GPT2, String.raw`\p{N}+`, "[0-9][0-9][0-9]"] },
];
