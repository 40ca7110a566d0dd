import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { renderChat, type ChatMessage } from "../../../engine/pack/chatTemplate.ts";
import { ABSENT_ANSWER, planPrompt, saysAbsent, type Turn } from "../../../engine/pack/prompt.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { byteLevelJson } from "../../support/tinyTokenizer.ts";
import { tinyModelFiles, tinyTokenizerJson } from "../../support/tinyModel.ts";

interface TemplateGoldens {
  messages: ChatMessage[];
  bos_token: string;
  cases: { name: string; template: string; rendered: string }[];
}
const goldens = JSON.parse(readFileSync("test/golden/chat_templates.json", "utf8")) as TemplateGoldens;

async function tinySpec() {
  return parseSpec(JSON.parse((await tinyModelFiles().text("config.json")) ?? ""));
}

const HISTORY: Turn[] = [
  { question: "Where is x?", answer: "const x = 1;" },
  { question: "Where is y?", answer: ABSENT_ANSWER },
];

describe("chat templates", () => {
  it("render as Jinja does", () => {
    for (const { template, rendered, name } of goldens.cases) {
      assert.equal(renderChat({ source: template, bosToken: goldens.bos_token, eosToken: "" }, goldens.messages), rendered, name);
    }
  });
});

describe("a chat model's refusal", () => {
  it("is the whole answer, in the words it was asked for", () => {
    for (const said of [
      "Not in the files.",
      "not in the files",
      ' "Not in the files."\n',
      "**Not in the files.**",
      "`Not in the files`",
    ])
      assert.equal(saysAbsent(said), true, said);
    for (const said of [
      "",
      "Not in the files, but `x = 1` is close.",
      "It is not in the files.",
      "Not in the files. See src/a.ts.",
      "Not in these files.",
      "Not in the filesystem.",
    ])
      assert.equal(saysAbsent(said), false, said);
  });

  it("is asked for beside quotes and paths, in front of the files", async () => {
    const tokenizer = loadTokenizer(byteLevelJson({ special: ["<|im_start|>", "<|im_end|>"] }));
    const spec = { ...(await tinySpec()), promptFormat: "chat" as const };
    const chatTemplate = { source: goldens.cases[0]?.template ?? "", bosToken: "", eosToken: "" };
    const { before } = planPrompt({ tokenizer, spec, chatTemplate, question: "x", history: [] });
    const text = tokenizer.decode(before);
    assert.match(text, /word for word between backticks/);
    assert.match(text, /name the path/);
    assert.match(text, /Not in the files\./);
  });
});

describe("prompts", () => {
  it("an extractive turn is a question, a line, a line break; an absent answer is its token", async () => {
    const tokenizer = loadTokenizer(tinyTokenizerJson);
    const prompt = planPrompt({
      tokenizer,
      spec: await tinySpec(),
      chatTemplate: undefined,
      question: " What\n is z? ",
      history: HISTORY,
    });
    assert.equal(prompt.before.length, 0);
    assert.equal(
      tokenizer.decode(prompt.after),
      "Q: Where is `x` defined?\nA: const x = 1;\nQ: Where is `y` defined?\nA: <|absent|>\nQ: What is z?\nA: ",
    );
    assert.equal([...prompt.after].filter((id) => id === 2).length, 1);
  });

  it("an answer of several lines has its opening in front of every line", async () => {
    const tokenizer = loadTokenizer(tinyTokenizerJson);
    const history = [{ question: "Who?", answer: "go(1);\ngo(2);" }];
    const options = { tokenizer, chatTemplate: undefined, question: "x", history };
    const spec = await tinySpec();
    const many = planPrompt({ ...options, spec: { ...spec, answerLines: "many" } });
    assert.equal(tokenizer.decode(many.after), "Q: Who?\nA: go(1);\nA: go(2);\nQ: x\nA: ");
    assert.equal(tokenizer.decode(planPrompt({ ...options, spec }).after), "Q: Who?\nA: go(1); go(2);\nQ: x\nA: ");
  });

  it("every format appends turns: what was asked before stays as it was", async () => {
    const chatml = goldens.cases[0]?.template ?? "";
    const tokenizer = loadTokenizer(byteLevelJson({ special: ["<|im_start|>", "<|im_end|>", "<|absent|>"] }));
    for (const promptFormat of ["extractive", "plain", "chat"] as const) {
      const base = {
        tokenizer,
        spec: { ...(await tinySpec()), promptFormat },
        chatTemplate: { source: chatml, bosToken: "", eosToken: "" },
      };
      const first = planPrompt({ ...base, question: "One?", history: [] });
      const second = planPrompt({ ...base, question: "Two?", history: [{ question: "One?", answer: "first" }] });
      assert.deepEqual(second.before, first.before);
      assert.deepEqual(second.after.subarray(0, first.after.length), first.after, promptFormat);
    }
  });

  it("only the template writes control tokens", async () => {
    const chatml = goldens.cases[0]?.template ?? "";
    const tokenizer = loadTokenizer(byteLevelJson({ special: ["<|im_start|>", "<|im_end|>"] }));
    const prompt = planPrompt({
      tokenizer,
      spec: { ...(await tinySpec()), promptFormat: "chat" },
      chatTemplate: { source: chatml, bosToken: "", eosToken: "" },
      question: "What is <|im_end|>?",
      history: [],
    });
    const ids = [...prompt.before, ...prompt.after];
    assert.equal(ids.filter((id) => id === tokenizer.tokenId("<|im_end|>")).length, 1);
    assert.match(
      tokenizer.decode(ids),
      /^<\|im_start\|>user\nHere are files[^]*What is <\|im_end\|>\?<\|im_end\|>\n<\|im_start\|>assistant\n$/,
    );
  });

  it("refuses a template that drops messages", async () => {
    const tokenizer = loadTokenizer(byteLevelJson({}));
    const chatTemplate = { source: "{{ messages[0].content }}", bosToken: "", eosToken: "" };
    const spec = { ...(await tinySpec()), promptFormat: "chat" as const };
    assert.throws(
      () => planPrompt({ tokenizer, spec, chatTemplate, question: "Q", history: HISTORY }),
      (error) => EngineError.is(error, "unsupported-model"),
    );
  });
});
