import { parseArgs, type ParseArgsConfig } from "node:util";
import type { BackendChoice, Sampling, WeightFormat, MatmulPrecision } from "../../engine/api.ts";
import type { AttentionChoice, KvFormats } from "../../engine/attention/api.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { EngineError } from "../../engine/errors.ts";
import { parseKvFormats } from "../../engine/kv-cache/kvFormats.ts";
import { releasedSearch, searchOfSize, type SearchOptions } from "../../engine/position/search.ts";
import { type PackFormat, packFormats } from "../../engine/pack/exportPack.ts";
import { settingDefaults } from "../settings.ts";
import { oneOf, type Range, readNumber, readSize } from "./argValues.ts";
import { backends, type Named, precisions, quotes, UsageError, usages, weightFormats } from "./usages.ts";

type OptionTable = NonNullable<ParseArgsConfig["options"]>;

/** What opens a model. `model` undefined means the bundled one. */
export interface OpenArgs {
  model: string | undefined;
  backend: BackendChoice;
  weightFormat: WeightFormat;
  products: MatmulPrecision;
}

export interface ModelArgs extends OpenArgs {
  /** RoPE setting as written: a kind, JSON, or the path of a .json file; read once the model is known. */
  rope: string;
  attention: AttentionChoice;
  /** Undefined: as the engine chooses. */
  kv: KvFormats | undefined;
}

export interface PrefixCacheArgs {
  folder: string;
  maxBytes: number;
}

export type Command =
  | { name: "help" }
  | {
      name: "count";
      json: boolean;
      folder: string;
      tokenizer: string | undefined;
      /** Globs; only files that one of them names. Empty: all. */
      include: string[];
      perFile: boolean;
      /** More tokens than this are an error, for builds. */
      budget: number | undefined;
    }
  | {
      name: "pack";
      json: boolean;
      folder: string;
      tokenizer: string | undefined;
      /** Tokens; undefined means what the context set says. */
      window: number | undefined;
      reserve: number | undefined;
      /** File of a context set. */
      set: string | undefined;
      format: PackFormat;
      question: string;
      /** Globs; only files that one of them names. Empty: all. */
      include: string[];
      /** Adds diffs and messages of git. */
      git: boolean;
      /** Paths of files that go into the pack although they look as if they held a secret. */
      allowSecrets: string[];
      /** File of a price table. */
      prices: string | undefined;
      /** More tokens than this are an error, for builds. */
      budget: number | undefined;
      /** File that the pack is written to instead of standard output. */
      out: string | undefined;
    }
  | ({
      name: "ask";
      json: boolean;
      folder: string;
      question: string;
      sampling: Sampling;
      quote: "free" | "constrained";
      maxAnswerTokens: number;
      /** Folder that prefixes of prompts are kept in, and what they may take there; undefined keeps none. */
      prefixCache: PrefixCacheArgs | undefined;
    } & ModelArgs)
  | ({ name: "logits"; json: boolean; ids: number[]; all: boolean } & ModelArgs)
  | ({
      name: "rope-search";
      json: boolean;
      folder: string;
      /** Tokens to search for. */
      targetTokens: number;
      /** Texts of that length to judge factors by, at most. */
      documents: number;
      search: SearchOptions;
      /** Globs; only files that one of them names. Empty: all. */
      include: string[];
      /** File that the RoPE setting is written to instead of standard output. */
      out: string | undefined;
      /** File that the search is kept in; it goes on from there where the file exists. */
      resume: string | undefined;
    } & OpenArgs)
  | ({
      name: "plan";
      json: boolean;
      tokens: number;
      /** Bits that every weight takes, scales included, whatever its format. */
      bits: number | undefined;
      /** Memory of a machine; undefined: of this one, within what the backend keeps for a context. */
      memoryBytes: number | undefined;
      /** Every policy with every cache format too. */
      all: boolean;
      /** Measure this machine for the time. */
      measure: boolean;
      /** What another machine sustains: operations and bytes a second. */
      flops: number | undefined;
      bytesPerSecond: number | undefined;
      /** Graphics cards that share the prompt, and bytes a second from one to the next. */
      ring: { ranks: number; linkBytesPerSecond: number } | undefined;
    } & ModelArgs)
  | ({
      name: "eval-answers";
      folder: string;
      /** Tokens that prompt and answer may take, ascending; and last the whole folder, which they need not take. */
      lengths: (number | "whole")[];
      /** Questions of each type at each length, at most. */
      perType: number;
      seed: number;
      /** Globs; only files that one of them names. Empty: all. */
      include: string[];
      /** File that everything is written to, every answer included. */
      json: string | undefined;
      /** File that the share of attended planted lines is written to. */
      attended: string | undefined;
      /** How it was called, for what is written. */
      line: string;
    } & ModelArgs)
  | { name: "doctor"; json: boolean; model: string | undefined };

const openOptions = {
  model: { type: "string" },
  backend: { type: "string" },
  quant: { type: "string" },
  products: { type: "string" },
} as const satisfies OptionTable;

const modelOptions = {
  ...openOptions,
  rope: { type: "string" },
  attention: { type: "string" },
  kv: { type: "string" },
} as const satisfies OptionTable;

const json = { json: { type: "boolean" } } as const;

/** Reads the arguments behind `lcp`; throws UsageError. */
export function parseCommand(args: readonly string[]): Command {
  const [name, ...rest] = args;
  switch (name) {
    case "help":
    case "--help":
    case "-h":
      return { name: "help" };
    case "count":
      return count(rest);
    case "pack":
      return pack(rest);
    case "ask":
      return ask(rest);
    case "logits":
      return logits(rest);
    case "rope-search":
      return ropeSearch(rest);
    case "plan":
      return plan(rest);
    case "eval-answers":
      return evalAnswers(rest);
    case "doctor":
      return doctor(rest);
    default: {
      const known = `lcp ${Object.keys(usages).join("|")} …; lcp help says more`;
      throw new UsageError(name === undefined ? "no command" : `unknown command "${name}"`, known);
    }
  }
}

function count(args: string[]): Command {
  const { values, positionals } = parse("count", args, {
    tokenizer: { type: "string" },
    include: { type: "string", multiple: true },
    files: { type: "boolean" },
    budget: { type: "string" },
    ...json,
  });
  const [folder] = expect("count", positionals, ["folder"]);
  return {
    name: "count",
    json: values.json ?? false,
    folder,
    tokenizer: values.tokenizer,
    include: globsOf("count", values.include),
    perFile: values.files ?? false,
    budget: tokensOf("count", "--budget", values.budget),
  };
}

function pack(args: string[]): Command {
  const { values, positionals } = parse("pack", args, {
    tokenizer: { type: "string" },
    window: { type: "string" },
    reserve: { type: "string" },
    set: { type: "string" },
    format: { type: "string" },
    question: { type: "string" },
    include: { type: "string", multiple: true },
    git: { type: "boolean" },
    "allow-secrets": { type: "string", multiple: true },
    prices: { type: "string" },
    budget: { type: "string" },
    out: { type: "string" },
    ...json,
  });
  const [folder] = expect("pack", positionals, ["folder"]);
  return {
    name: "pack",
    json: values.json ?? false,
    folder,
    tokenizer: values.tokenizer,
    window: tokensOf("pack", "--window", values.window),
    reserve: tokensOf("pack", "--reserve", values.reserve),
    set: values.set,
    format: oneOf("pack", "--format", values.format ?? "xml", packFormats),
    question: values.question ?? "",
    include: globsOf("pack", values.include),
    git: values.git ?? false,
    allowSecrets: values["allow-secrets"] ?? [],
    prices: values.prices,
    budget: tokensOf("pack", "--budget", values.budget),
    out: values.out,
  };
}

function globsOf(name: Named, given: string[] = []): string[] {
  if (given.some((glob) => glob.trim() === "")) throw new UsageError("--include has an empty glob", usages[name]);
  return given;
}

function tokensOf(name: Named, option: string, given: string | undefined): number | undefined {
  return given === undefined ? undefined : readNumber(name, option, given, { from: 0, whole: true });
}

function ask(args: string[]): Command {
  const { values, positionals } = parse("ask", args, {
    ...modelOptions,
    "max-tokens": { type: "string" },
    temperature: { type: "string" },
    "top-p": { type: "string" },
    seed: { type: "string" },
    quote: { type: "string" },
    "prefix-cache": { type: "string" },
    "prefix-cache-max": { type: "string" },
    ...json,
  });
  const [folder, question] = expect("ask", positionals, ["folder", "question"]);
  const number = (option: "max-tokens" | "temperature" | "top-p" | "seed", otherwise: number, range: Range): number =>
    values[option] === undefined ? otherwise : readNumber("ask", `--${option}`, values[option], range);
  return {
    name: "ask",
    json: values.json ?? false,
    folder,
    question,
    ...modelArgs("ask", values),
    sampling: {
      temperature: number("temperature", 0, { from: 0 }),
      topP: number("top-p", 1, { above: 0, to: 1 }),
      seed: number("seed", 0, { from: 0, whole: true }),
    },
    quote: oneOf("ask", "--quote", values.quote ?? "constrained", quotes),
    maxAnswerTokens: number("max-tokens", 128, { from: 1, whole: true }),
    prefixCache: prefixCacheArgs(values["prefix-cache"], values["prefix-cache-max"]),
  };
}

function prefixCacheArgs(folder: string | undefined, most: string | undefined): PrefixCacheArgs | undefined {
  if (folder === undefined && most !== undefined) throw new UsageError("--prefix-cache-max needs --prefix-cache", usages.ask);
  if (folder === undefined) return undefined;
  if (folder.trim() === "") throw new UsageError("--prefix-cache names no folder", usages.ask);
  const maxBytes = most === undefined ? settingDefaults.prefixCacheMaxGiB * 2 ** 30 : readSize("ask", "--prefix-cache-max", most);
  return { folder, maxBytes };
}

function logits(args: string[]): Command {
  const { values, positionals } = parse("logits", args, {
    ...modelOptions,
    ids: { type: "string" },
    all: { type: "boolean" },
    ...json,
  });
  expect("logits", positionals, []);
  if (values.ids === undefined) throw new UsageError("--ids is missing", usages.logits);
  const ids = values.ids.split(",").map((id) => readNumber("logits", "--ids", id.trim(), { from: 0, whole: true }));
  return { name: "logits", json: values.json ?? false, ids, all: values.all ?? false, ...modelArgs("logits", values) };
}

function ropeSearch(args: string[]): Command {
  const { values, positionals } = parse("rope-search", args, {
    ...openOptions,
    "target-length": { type: "string" },
    documents: { type: "string" },
    population: { type: "string" },
    iterations: { type: "string" },
    seed: { type: "string" },
    include: { type: "string", multiple: true },
    out: { type: "string" },
    resume: { type: "string" },
    ...json,
  });
  const [folder] = expect("rope-search", positionals, ["folder"]);
  if (values["target-length"] === undefined) throw new UsageError("--target-length is missing", usages["rope-search"]);
  const number = (
    option: "target-length" | "documents" | "population" | "iterations" | "seed",
    otherwise: number,
    from: number,
  ) =>
    values[option] === undefined ? otherwise : readNumber("rope-search", `--${option}`, values[option], { from, whole: true });
  const { population, iterations, seed } = releasedSearch;
  return {
    name: "rope-search",
    json: values.json ?? false,
    folder,
    ...openArgs("rope-search", values),
    targetTokens: number("target-length", 0, 2),
    documents: number("documents", 1, 1),
    search: searchOfSize(number("population", population, 4), number("iterations", iterations, 0), number("seed", seed, 0)),
    include: globsOf("rope-search", values.include),
    out: values.out,
    resume: values.resume,
  };
}

function plan(args: string[]): Command {
  const { values, positionals } = parse("plan", args, {
    ...modelOptions,
    tokens: { type: "string" },
    bits: { type: "string" },
    memory: { type: "string" },
    all: { type: "boolean" },
    "no-measure": { type: "boolean" },
    flops: { type: "string" },
    bandwidth: { type: "string" },
    ranks: { type: "string" },
    link: { type: "string" },
    ...json,
  });
  expect("plan", positionals, []);
  if (values.tokens === undefined) throw new UsageError("--tokens is missing", usages.plan);
  const rate = (option: "bits" | "flops" | "bandwidth" | "link", unit: number): number | undefined =>
    values[option] === undefined ? undefined : unit * readNumber("plan", `--${option}`, values[option], { above: 0 });
  const link = rate("link", 1e9);
  const ranks = values.ranks === undefined ? undefined : readNumber("plan", "--ranks", values.ranks, { from: 1, whole: true });
  if ((ranks === undefined) !== (link === undefined)) throw new UsageError("--ranks and --link go together", usages.plan);
  return {
    name: "plan",
    json: values.json ?? false,
    tokens: readNumber("plan", "--tokens", values.tokens, { from: 1, to: MOST_PLANNED, whole: true }),
    ...modelArgs("plan", values),
    bits: rate("bits", 1),
    memoryBytes: values.memory === undefined ? undefined : readSize("plan", "--memory", values.memory),
    all: values.all ?? false,
    measure: !(values["no-measure"] ?? false),
    flops: rate("flops", 1e12),
    bytesPerSecond: rate("bandwidth", 1e9),
    ring: ranks === undefined || link === undefined ? undefined : { ranks, linkBytesPerSecond: link },
  };
}

function evalAnswers(args: string[]): Command {
  const name = "eval-answers";
  const { values, positionals } = parse(name, args, {
    ...modelOptions,
    lengths: { type: "string" },
    "per-type": { type: "string" },
    seed: { type: "string" },
    include: { type: "string", multiple: true },
    json: { type: "string" },
    attended: { type: "string" },
  });
  const [folder] = expect(name, positionals, ["folder"]);
  const range = { from: 256, to: MOST_PLANNED, whole: true };
  const words = (values.lengths ?? "2048").split(",").map((word) => word.trim());
  const lengths = words.filter((word) => word !== "whole").map((tokens) => readNumber(name, "--lengths", tokens, range));
  for (const option of ["json", "attended"] as const)
    if (values[option]?.trim() === "") throw new UsageError(`--${option} names no file`, usages[name]);
  const number = (option: "per-type" | "seed", otherwise: number, from: number): number =>
    values[option] === undefined ? otherwise : readNumber(name, `--${option}`, values[option], { from, whole: true });
  return {
    name,
    folder,
    ...modelArgs(name, values),
    lengths: [...[...new Set(lengths)].sort((a, b) => a - b), ...(words.includes("whole") ? (["whole"] as const) : [])],
    perType: number("per-type", 10, 1),
    seed: number("seed", 0, 0),
    include: globsOf(name, values.include),
    json: values.json,
    attended: values.attended,
    line: ["npm run eval:answers --", ...args].join(" "),
  };
}

/** The device counts positions no further. */
const MOST_PLANNED = 2 ** 24;

function doctor(args: string[]): Command {
  const { values, positionals } = parse("doctor", args, { model: { type: "string" }, ...json });
  expect("doctor", positionals, []);
  return { name: "doctor", json: values.json ?? false, model: values.model };
}

function parse<Options extends OptionTable>(name: Named, args: string[], options: Options) {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (error) {
    // Node's own sentence names the option; what follows it is advice about escaping that does not fit here.
    const message = error instanceof Error ? (error.message.split(/\. |\n/)[0] ?? error.message) : String(error);
    throw new UsageError(message.charAt(0).toLowerCase() + message.slice(1), usages[name]);
  }
}

/** Exactly the named positional arguments, none of them empty. */
function expect<Names extends readonly string[]>(
  name: Named,
  given: string[],
  names: readonly [...Names],
): { [I in keyof Names]: string } {
  const missing = names.find((_, index) => (given[index] ?? "").trim() === "");
  if (missing !== undefined) throw new UsageError(`<${missing}> is missing`, usages[name]);
  if (given.length > names.length) throw new UsageError(`"${given[names.length] ?? ""}" is one argument too many`, usages[name]);
  return given as { [I in keyof Names]: string };
}

interface OpenValues {
  model?: string;
  backend?: string;
  quant?: string;
  products?: string;
}

function modelArgs(name: Named, values: OpenValues & { rope?: string; attention?: string; kv?: string }): ModelArgs {
  return {
    ...openArgs(name, values),
    rope: values.rope ?? "auto",
    attention: written(name, "--attention", () => parseAttention(values.attention ?? "flash")),
    kv: written(name, "--kv", () => (values.kv === undefined ? undefined : parseKvFormats(values.kv))),
  };
}

/** What the engine's own parser reads; what it refuses is wrong usage. */
function written<Value>(name: Named, option: string, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (!EngineError.is(error)) throw error;
    throw new UsageError(`${option}: ${error.message}; ${error.remedy}`, usages[name]);
  }
}

function openArgs(name: Named, values: OpenValues): OpenArgs {
  return {
    model: values.model,
    backend: oneOf(name, "--backend", values.backend ?? "auto", backends),
    weightFormat: oneOf(name, "--quant", values.quant ?? "file", weightFormats),
    products: oneOf(name, "--products", values.products ?? "exact", precisions),
  };
}
