/** What the token thread counts: texts and messages as one model's prompt has them. No `vscode`. */
import { plainError, type PlainError } from "../../engine/errors.ts";
import { askModelOf } from "../../engine/generate/askModel.ts";
import { loadModel } from "../../engine/models/load.ts";
import type { ChatMessage } from "../../engine/pack/chatTemplate.ts";
import { type ConversationFrame, conversationFrame, messageTokens, type PromptModel } from "../../engine/pack/conversation.ts";
import { nodeModelFiles } from "../models/nodeFiles.ts";

/** Jobs by name: what they take beside the model's path, and what they give. */
export interface TokenJobs {
  text: { params: { text: string }; result: number };
  message: { params: { message: ChatMessage }; result: number };
  frame: { params: Record<string, never>; result: ConversationFrame };
}

export interface TokenJob<Name extends keyof TokenJobs = keyof TokenJobs> {
  id: number;
  name: Name;
  /** Folder or GGUF file of the model. */
  path: string;
  params: TokenJobs[Name]["params"];
}

export type TokenAnswer = { id: number; result: unknown } | { id: number; error: PlainError };

/** Vocabularies take tens of megabytes. */
const mostModels = 3;

type Handlers = {
  [Name in keyof TokenJobs]: (model: CountingModel, params: TokenJobs[Name]["params"]) => TokenJobs[Name]["result"];
};

interface CountingModel {
  prompt: PromptModel;
  frame: ConversationFrame;
}

const handlers: Handlers = {
  text: ({ prompt }, { text }) => prompt.tokenizer.count(text),
  message: ({ prompt, frame }, { message }) => messageTokens(prompt, frame, message),
  frame: ({ frame }) => frame,
};

/** Does jobs, and keeps the models that were asked for last. */
export function tokenCounter(open: (path: string) => Promise<PromptModel> = openPromptModel) {
  const models = new Map<string, Promise<CountingModel>>();
  const modelAt = (path: string): Promise<CountingModel> => {
    const model = models.get(path) ?? open(path).then((prompt) => ({ prompt, frame: conversationFrame(prompt) }));
    models.delete(path);
    models.set(path, model);
    // One that could not be read is read again: its files may have been mended.
    model.catch(() => models.delete(path));
    for (const [oldest] of models) if (models.size > mostModels) models.delete(oldest);
    return model;
  };
  return async ({ id, name, path, params }: TokenJob): Promise<TokenAnswer> => {
    try {
      const model = await modelAt(path);
      // The name says which of the jobs these parameters are of.
      const handler = handlers[name] as (model: CountingModel, params: unknown) => unknown;
      return { id, result: handler(model, params) };
    } catch (error) {
      return { id, error: plainError(error) };
    }
  };
}

async function openPromptModel(path: string): Promise<PromptModel> {
  const files = nodeModelFiles(path);
  try {
    return askModelOf(await loadModel(files));
  } finally {
    await files.close();
  }
}
