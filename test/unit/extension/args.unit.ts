import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { policyTable } from "../../../engine/attention/policyTable.ts";
import { abortedError, EngineError } from "../../../engine/errors.ts";
import { releasedSearch } from "../../../engine/position/search.ts";
import { parseCommand } from "../../../extension/cli/args.ts";
import { UsageError } from "../../../extension/cli/usages.ts";
import { policyLines } from "../../../extension/cli/attentionText.ts";
import { failureOf, jsonLine, ProgressLine, short } from "../../../extension/cli/output.ts";

function checkWrong(line: string[], message: RegExp): void {
  assert.throws(
    () => parseCommand(line),
    (error) => error instanceof UsageError && message.test(error.message) && error.usage !== "",
    line.join(" "),
  );
}

test("every option reaches the command", () => {
  assert.deepEqual(parseCommand("count src --tokenizer m --files --budget 500 --include a/** --include *.ts --json".split(" ")), {
    name: "count",
    json: true,
    folder: "src",
    tokenizer: "m",
    include: ["a/**", "*.ts"],
    perFile: true,
    budget: 500,
  });
  assert.deepEqual(
    parseCommand([
      ..."pack src --window 8000 --reserve 100 --set s.json --format plain --tokenizer o200k --out p.txt --json".split(" "),
      ..."--git --allow-secrets a.ts --allow-secrets git:log --prices p.json --budget 900 --include src".split(" "),
      ...["--question", "Where is x?"],
    ]),
    {
      name: "pack",
      json: true,
      folder: "src",
      tokenizer: "o200k",
      window: 8000,
      reserve: 100,
      set: "s.json",
      format: "plain",
      question: "Where is x?",
      include: ["src"],
      git: true,
      allowSecrets: ["a.ts", "git:log"],
      prices: "p.json",
      budget: 900,
      out: "p.txt",
    },
  );
  assert.deepEqual(
    parseCommand([
      ..."ask src Where? --model m --backend ort --rope yarn --quant q8_0 --products fast --max-tokens 9".split(" "),
      ..."--attention sinks:4,256 --kv q8,f16".split(" "),
      ..."--temperature 0.5 --top-p 0.9 --seed 7 --quote free --prefix-cache kept --prefix-cache-max 2.5GiB".split(" "),
    ]),
    {
      name: "ask",
      json: false,
      folder: "src",
      question: "Where?",
      model: "m",
      backend: "ort",
      rope: "yarn",
      attention: { policy: { kind: "sinks", sinks: 4, window: 256 } },
      kv: { keys: "q8", values: "f16" },
      weightFormat: "q8_0",
      products: "fast",
      sampling: { temperature: 0.5, topP: 0.9, seed: 7 },
      quote: "free",
      maxAnswerTokens: 9,
      prefixCache: { folder: "kept", maxBytes: 2.5 * 2 ** 30 },
    },
  );
  const evaluated =
    "src --lengths whole,4096,2048,4096 --per-type 3 --seed 5 --backend ort --include *.ts --json a.json --attended b.json";
  assert.deepEqual(parseCommand(["eval-answers", ...evaluated.split(" ")]), {
    name: "eval-answers",
    folder: "src",
    lengths: [2048, 4096, "whole"],
    perType: 3,
    seed: 5,
    include: ["*.ts"],
    json: "a.json",
    attended: "b.json",
    line: `npm run eval:answers -- ${evaluated}`,
    ...{ model: undefined, backend: "ort", rope: "auto", kv: undefined, weightFormat: "file", products: "exact" },
    attention: { policy: { kind: "flash" } },
  });
  assert.deepEqual(parseCommand(["logits", "--ids", "1, 2,3", "--all", "--backend", "reference"]), {
    name: "logits",
    json: false,
    ids: [1, 2, 3],
    all: true,
    model: undefined,
    backend: "reference",
    rope: "auto",
    attention: { policy: { kind: "flash" } },
    kv: undefined,
    weightFormat: "file",
    products: "exact",
  });
  const logits = parseCommand("logits --ids 1 --attention a-shape:4,64+top-pages:8 --kv q4".split(" "));
  assert.ok(logits.name === "logits");
  assert.deepEqual(logits.attention, { policy: { kind: "a-shape", sinks: 4, window: 64 }, topPages: 8 });
  assert.deepEqual(logits.kv, { keys: "q4", values: "q4" });
  assert.deepEqual(
    parseCommand([
      ..."rope-search src --target-length 8192 --model m --backend ort --quant q8_0 --documents 3 --population 8".split(" "),
      ..."--iterations 5 --seed 7 --include a/** --out rope.json --resume state.json --json".split(" "),
    ]),
    {
      name: "rope-search",
      json: true,
      folder: "src",
      model: "m",
      backend: "ort",
      weightFormat: "q8_0",
      products: "exact",
      targetTokens: 8192,
      documents: 3,
      search: { ...releasedSearch, population: 8, parents: 4, mutations: 2, crossovers: 2, iterations: 5, seed: 7 },
      include: ["a/**"],
      out: "rope.json",
      resume: "state.json",
    },
  );
  assert.deepEqual(parseCommand(["rope-search", "src", "--target-length", "8192"]), {
    name: "rope-search",
    json: false,
    folder: "src",
    model: undefined,
    backend: "auto",
    weightFormat: "file",
    products: "exact",
    targetTokens: 8192,
    documents: 1,
    search: releasedSearch,
    include: [],
    out: undefined,
    resume: undefined,
  });
  assert.deepEqual(parseCommand(["doctor", "--model", "m"]), { name: "doctor", json: false, model: "m" });
});

test("wrong usage names what is wrong", () => {
  checkWrong([], /no command/);
  checkWrong(["serve"], /unknown command "serve"/);
  checkWrong(["count"], /<folder> is missing/);
  checkWrong(["count", "a", "b"], /"b" is one argument too many/);
  checkWrong(["count", "a", "--model", "m"], /--model/);
  checkWrong(["ask", "a"], /<question> is missing/);
  checkWrong(["ask", "a", "  "], /<question> is missing/);
  checkWrong(["ask", "a", "q", "--backend", "cuda"], /--backend is "cuda", not one of auto, wgsl, ort, reference/);
  checkWrong(["ask", "a", "q", "--quant", "q4"], /--quant/);
  checkWrong(["ask", "a", "q", "--products", "quick"], /--products/);
  checkWrong(["ask", "a", "q", "--quote", "maybe"], /--quote/);
  checkWrong(["ask", "a", "q", "--attention", "sink:4"], /--attention: there is no .* "sink"; use one of .*sinks/);
  checkWrong(["ask", "a", "q", "--attention", "window:0"], /--attention: .*window.* from 1/);
  checkWrong(["logits", "--ids", "1", "--kv", "q2"], /--kv: "q2" is no format .*f32/);
  checkWrong(["rope-search", "a", "--target-length", "64", "--attention", "flash"], /--attention/);
  checkWrong(["ask", "a", "q", "--top-p", "0"], /--top-p has "0", not a number above 0 up to 1/);
  checkWrong(["ask", "a", "q", "--max-tokens", "1.5"], /not a whole number from 1/);
  checkWrong(["ask", "a", "q", "--seed", ""], /--seed has ""/);
  checkWrong(["ask", "a", "q", "--prefix-cache-max", "4GiB"], /--prefix-cache-max needs --prefix-cache/);
  checkWrong(["ask", "a", "q", "--prefix-cache", "k", "--prefix-cache-max", "much"], /has "much", not a size/);
  checkWrong(["rope-search", "a"], /--target-length is missing/);
  checkWrong(["rope-search", "a", "--target-length", "0"], /--target-length has "0", not a whole number from 2/);
  checkWrong(["rope-search", "a", "--target-length", "64", "--population", "3"], /--population has "3"/);
  checkWrong(["rope-search", "a", "--target-length", "64", "--rope", "yarn"], /--rope/);
  checkWrong(["logits"], /--ids is missing/);
  checkWrong(["logits", "--ids", "1,x"], /--ids has "x"/);
  checkWrong(["logits", "--ids", "1,-2"], /--ids has "-2"/);
});

test("help lists every policy as it is written", () => {
  const lines = policyLines();
  assert.equal(lines.length, policyTable.length);
  for (const line of lines) assert.doesNotThrow(() => parseAttention(line.split(" ")[0] ?? ""), line);
});

test("errors are one line for people and an object for programs", () => {
  const error = new EngineError("no-such-folder", '"x" does not\nexist', "give the path of a folder");
  assert.deepEqual(failureOf(error, false), {
    exitCode: 1,
    out: "",
    err: 'lcp: "x" does not exist — give the path of a folder\n',
  });
  const { out, exitCode } = failureOf(error, true);
  assert.equal(exitCode, 1);
  assert.deepEqual(JSON.parse(out), {
    error: { code: "no-such-folder", message: '"x" does not\nexist', remedy: "give the path of a folder" },
  });
  const wrong = failureOf(new UsageError("no command", "lcp …"), true);
  assert.equal(wrong.exitCode, 2);
  assert.deepEqual(JSON.parse(wrong.out), { error: { code: "bad-argument", message: "no command", remedy: "usage: lcp …" } });
  assert.deepEqual(failureOf(abortedError(), false), { exitCode: 130, out: "", err: "lcp: stopped — run it again\n" });
  assert.match(failureOf(new TypeError("boom"), false).err, /^lcp: boom — .+\n$/);
});

test("typed arrays are plain lists in JSON", () => {
  assert.equal(jsonLine({ a: new Float32Array([1.5, 2]), b: [new Uint32Array([3])] }), '{"a":[1.5,2],"b":[[3]]}\n');
});

test("progress is one line in a terminal and a few lines elsewhere", () => {
  const written = (terminal: boolean): string[] => {
    const parts: string[] = [];
    const line = new ProgressLine({ out: () => undefined, err: (text) => parts.push(text), terminal });
    for (let done = 0; done <= 100; done++) line.show(`${done} / 100`, done / 100);
    line.clear();
    return parts;
  };
  assert.equal(written(true).length, 102);
  assert.ok(written(true).every((text) => !text.includes("\n")));
  assert.deepEqual(written(false), ["0 / 100\n", "25 / 100\n", "50 / 100\n", "75 / 100\n", "100 / 100\n"]);
  assert.deepEqual([999, 3120, 9812, 1_250_000].map(short), ["999", "3.1K", "9.8K", "1.25M"]);
});
