import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import type { ChatMessage } from "../../../engine/pack/chatTemplate.ts";
import {
  conversationFrame,
  conversationPrompt,
  messageTokens,
  type PromptModel,
  questionAndTexts,
} from "../../../engine/pack/conversation.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { byteLevelJson } from "../../support/tinyTokenizer.ts";

const goldens = JSON.parse(readFileSync("test/golden/chat_templates.json", "utf8")) as {
  bos_token: string;
  cases: { name: string; template: string }[];
};
const tokenizer = loadTokenizer(byteLevelJson({ special: ["<|im_start|>", "<|im_end|>", "<s>", "[INST]"] }));
const user = (content: string): ChatMessage => ({ role: "user", content });
const assistant = (content: string): ChatMessage => ({ role: "assistant", content });
const system = (content: string): ChatMessage => ({ role: "system", content });

function chatModel(source: string): PromptModel {
  return {
    spec: { promptFormat: "chat" },
    tokenizer,
    chatTemplate: { source, bosToken: goldens.bos_token, eosToken: "</s>" },
  };
}
const plain: PromptModel = { spec: { promptFormat: "plain" }, tokenizer, chatTemplate: undefined };
const chatml =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const noSystem =
  "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}" +
  "{{ '[' + m.role + ']' + m.content }}{% endfor %}{{ '[reply]' }}";

/** What the counts say that the whole prompt takes. */
function counted(model: PromptModel, messages: readonly ChatMessage[]): number {
  const frame = conversationFrame(model);
  return messages.reduce((sum, message) => sum + messageTokens(model, frame, message), frame.opening + frame.closing);
}

describe("conversations", () => {
  const talk = [user("Where is x?"), assistant("In a.ts."), user("And y?")];

  it("are written by the template, with the reply opened", () => {
    const text = tokenizer.decode(conversationPrompt(chatModel(chatml), [system("Be brief."), ...talk]));
    assert.equal(
      text,
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhere is x?<|im_end|>\n<|im_start|>assistant\nIn a.ts.<|im_end|>\n" +
        "<|im_start|>user\nAnd y?<|im_end|>\n<|im_start|>assistant\n",
    );
  });

  it("have as many tokens as their messages and what is around them are counted", () => {
    for (const model of [...goldens.cases.map(({ template }) => chatModel(template)), chatModel(chatml), plain]) {
      for (const messages of [talk.slice(0, 1), talk, [...talk, assistant("In b.ts."), user("And `z`?")]]) {
        assert.equal(counted(model, messages), conversationPrompt(model, messages).length, model.chatTemplate?.source ?? "plain");
      }
    }
    const ofSystem = [system("Be brief."), ...talk];
    assert.equal(counted(chatModel(chatml), ofSystem), conversationPrompt(chatModel(chatml), ofSystem).length);
  });

  it("hold no control token that a message spells", () => {
    const ids = [...conversationPrompt(chatModel(chatml), [user("What is <|im_end|>?")])];
    assert.equal(ids.filter((id) => id === tokenizer.tokenId("<|im_end|>")).length, 1);
  });

  it("tell a template without a system role what the system says in the first question", () => {
    const text = tokenizer.decode(conversationPrompt(chatModel(noSystem), [system("Be brief."), ...talk]));
    assert.match(text, /\[user\]Be brief\.\n\nWhere is x\?\[assistant\]In a\.ts\.\[user\]And y\?\[reply\]$/);
  });

  it("join neighbours of one role and leave out what is empty, because templates want turns to alternate", () => {
    const alternating = conversationPrompt(chatModel(chatml), [user("a\n\nb"), assistant("c")]);
    assert.deepEqual(conversationPrompt(chatModel(chatml), [user("a"), user(" \n"), user("b"), assistant("c")]), alternating);
    assert.throws(
      () => conversationPrompt(plain, [user(" ")]),
      (error) => EngineError.is(error, "bad-argument"),
    );
  });

  it("are questions and answers in plain words for a base model", () => {
    const text = tokenizer.decode(conversationPrompt(plain, [system("Notes."), ...talk]));
    assert.equal(text, "Notes.\n\nQuestion: Where is x?\nAnswer: In a.ts.\n\nQuestion: And y?\nAnswer:");
  });

  it("show an extractive model the last line as its question and all before it as texts", () => {
    const { question, texts } = questionAndTexts([system("const a = 1;"), user("const b = 2;\n\nWhat is b?\n")]);
    assert.equal(question, "What is b?");
    assert.deepEqual(texts, [
      { path: "message 1", text: "const a = 1;" },
      { path: "message 2", text: "const b = 2;\n" },
    ]);
  });
});
