import * as vscode from "vscode";
import { EngineError, plainError } from "../../engine/errors.ts";
import type { AskEvent, AskResult } from "../../engine/generate/api.ts";
import type { ChosenQuestion } from "../../webview/protocol/panel.ts";
import type { TokenClient } from "../client.ts";
import { currentRoots } from "../corpus/currentRoots.ts";
import { commandIds } from "../commandIds.ts";
import { modelLabel } from "../models/location.ts";
import type { CurrentModel } from "../models/currentModel.ts";
import { answerNotes, planText, progressText, proseText, type QuestionFacts, unverifiedNote } from "./answerText.ts";
import type { ChatEngine } from "./chatEngine.ts";
import { showCitations } from "./citations.ts";
import { chooseContext, missingFiles, scopeText, snapshotFiles } from "./contextChoice.ts";
import { failureText } from "./failures.ts";
import { type Followup, followups } from "./followups.ts";
import { type AnswerMemory, historyShare, historyWithin, memoryOf } from "./history.ts";
import type { LanguageModels } from "./languageModels.ts";
import { codeBlock, languageOf, SafeMarkdown } from "./markdown.ts";
import type { ModelTokens } from "./modelTokens.ts";
import { chatCommands, type ChatCommandName, participantId } from "./names.ts";
import { questionOf, withNames } from "./question.ts";
import { attachedTo } from "./references.ts";

export interface ParticipantServices {
  client: TokenClient;
  engine: ChatEngine;
  model: CurrentModel;
  languageModels: LanguageModels;
  tokens: ModelTokens;
  /** Icons of the extension. */
  icon: vscode.Uri;
  log: vscode.LogOutputChannel;
}

/** `@longcontext` in VS Code's chat: asks the workspace as the playground does. */
export class ChatParticipant implements vscode.Disposable {
  private readonly services: ParticipantServices;
  private readonly participant: vscode.ChatParticipant;

  constructor(services: ParticipantServices) {
    this.services = services;
    this.participant = vscode.chat.createChatParticipant(participantId, this.handle);
    this.participant.iconPath = services.icon;
    this.participant.followupProvider = { provideFollowups: (result) => nextQuestions(result) };
  }

  /** Answers one request; what goes wrong is its result, with its remedy. */
  readonly handle = async (
    request: Pick<vscode.ChatRequest, "prompt" | "command" | "references" | "model">,
    context: vscode.ChatContext,
    stream: vscode.ChatResponseStream,
    token: vscode.CancellationToken,
  ): Promise<vscode.ChatResult> => {
    try {
      if (request.prompt.trim() === "") return explain(stream);
      const command = chatCommands.find((name) => name === request.command);
      if (this.services.client.budget?.state !== "ready") stream.progress("Counting the workspace");
      const prepared = await this.prepare(request, command, context, token);
      return command === "plan" ? await this.plan(prepared, stream, token) : await this.answer(prepared, stream, token);
    } catch (error) {
      // Whoever stopped it wants to hear nothing more of it.
      if (token.isCancellationRequested) return {};
      const { code, message } = plainError(error);
      this.services.log.error(`chat: ${code}: ${message}`);
      return { errorDetails: { message: failureText(error) } };
    }
  };

  dispose(): void {
    this.participant.dispose();
  }

  /** From a request to what the engine is asked. Throws `empty-workspace` and what cannot be read of what was attached. */
  private async prepare(
    request: Pick<vscode.ChatRequest, "prompt" | "references" | "model">,
    command: ChatCommandName | undefined,
    context: vscode.ChatContext,
    token: vscode.CancellationToken,
  ): Promise<Prepared> {
    const { client, model, languageModels } = this.services;
    if (currentRoots().length === 0)
      throw new EngineError("empty-workspace", "no folder is open", "open the folder you want to ask about");
    const { path } = model;
    const picked = await languageModels.pathOf(request.model);
    const { attached, typed } = await attachedTo(request.references);
    const { levels: userLevels } = await client.call("longContext/levels", {});
    const choice = chooseContext(attached, userLevels);
    const wanted = choice.levels === undefined ? {} : { levels: choice.levels };
    const { root, files, excluded } = await client.call("longContext/listing", wanted, token);
    const missing = missingFiles(attached, files, excluded);
    const scope = scopeText(choice, missing);
    const notRead = [...choice.notRead, ...missing.map(({ path: file, reason }) => `${file}: ${reason}`)];
    if (files.length === 0) throw nothingToRead(scope ?? (missing.length > 0 ? "what is attached" : root), notRead);
    const { turns, dropped } = await this.history(path, context);
    return {
      path,
      otherPicked: picked === path ? undefined : picked,
      question: {
        question: questionOf(command, withNames(request.prompt, typed)),
        files: snapshotFiles(files, choice.lines),
        first: choice.first,
        history: turns,
        limited: scope !== undefined,
      },
      facts: { scope, notRead, droppedTurns: dropped, model: modelLabel(path) },
    };
  }

  /** Earlier turns of this chat, as far as they leave most of the model's context to the files. */
  private async history(path: string, { history }: vscode.ChatContext) {
    const turns = history.flatMap((turn) => {
      const memory = turn instanceof vscode.ChatResponseTurn ? memoryOf(turn.result.metadata) : undefined;
      return memory === undefined ? [] : [{ question: memory.question, answer: memory.answer }];
    });
    const { languageModels, tokens } = this.services;
    const spec = turns.length === 0 ? undefined : await languageModels.specOf(path);
    if (spec === undefined) return { turns: [], dropped: turns.length };
    const budget = Math.floor(historyShare * languageModels.windowOf(spec));
    return historyWithin(turns, budget, (text) => tokens.call("text", path, { text }));
  }

  private async plan(
    { path, question, facts }: Prepared,
    stream: vscode.ChatResponseStream,
    token: vscode.CancellationToken,
  ): Promise<vscode.ChatResult> {
    this.sayOpening(path, stream);
    const plan = await this.services.engine.plan(path, question, token);
    stream.markdown(planText(plan, facts).join("\n\n"));
    return { metadata: { planned: question.question } };
  }

  private async answer(
    { path, otherPicked, question, facts }: Prepared,
    stream: vscode.ChatResponseStream,
    token: vscode.CancellationToken,
  ): Promise<vscode.ChatResult> {
    this.sayOpening(path, stream);
    const spec = await this.services.languageModels.specOf(path);
    const shown = new ShownAnswer(stream, token, spec?.promptFormat !== "extractive");
    const result = await this.services.engine.answer(path, question, token, (event) => shown.follow(event));
    if (token.isCancellationRequested) return {};
    shown.end(result);
    await showCitations(result.citations, stream);
    const notes = [...unverifiedNote(result.citations), ...answerNotes(result, facts)];
    stream.markdown(`\n\n${notes.join("\n\n")}\n\n`);
    stream.button({ command: commandIds.openPlayground, title: "Show in the Playground" });
    // The picker may show what nobody picked; a question does not change the model behind the user's back.
    if (otherPicked !== undefined)
      stream.button({ command: commandIds.useModel, title: `Use ${modelLabel(otherPicked)}`, arguments: [otherPicked] });
    return { metadata: memory(result) };
  }

  private sayOpening(path: string, stream: vscode.ChatResponseStream): void {
    if (this.services.engine.mustOpen(path)) stream.progress(`Opening ${modelLabel(path)} in the playground`);
  }
}

interface Prepared {
  /** Of the model that answers: the one in use. */
  path: string;
  /** Another one of ours that the chat's picker shows. */
  otherPicked: string | undefined;
  question: ChosenQuestion;
  facts: QuestionFacts;
}

/** An answer as it comes: words of a chat model at once, a quoted line when it is certain. */
class ShownAnswer {
  private readonly stream: vscode.ChatResponseStream;
  private readonly token: vscode.CancellationToken;
  private readonly streams: boolean;
  private safe = new SafeMarkdown();
  private said = false;
  /** The last progress that was shown: the chat keeps every one, so that they are few. */
  private progress = { type: "", quarter: -1 };

  constructor(stream: vscode.ChatResponseStream, token: vscode.CancellationToken, streams: boolean) {
    this.stream = stream;
    this.token = token;
    this.streams = streams;
  }

  follow(event: AskEvent): void {
    if (this.token.isCancellationRequested) return;
    if (event.type === "token") {
      if (this.streams) this.say(this.safe.push(event.text));
      return;
    }
    if (event.type === "recovered" && this.said) {
      this.say(`${this.safe.end()}\n\n---\n\n`);
      this.safe = new SafeMarkdown();
    }
    const quarter = event.type === "prefill" ? Math.floor((4 * event.doneTokens) / Math.max(1, event.totalTokens)) : 0;
    // Before and behind it other words say how far it is.
    if (event.type === "prefill" && (quarter === 0 || quarter === 4)) return;
    if (event.type === this.progress.type && quarter === this.progress.quarter) return;
    this.progress = { type: event.type, quarter };
    const text = progressText(event);
    if (text !== undefined) this.stream.progress(text);
  }

  end(result: AskResult): void {
    const { absent, answer, citations } = result;
    if (this.streams) {
      this.say(this.safe.end());
      if (!this.said) this.say("The model said nothing.");
      if (absent) this.say(`\n\n${proseText(result)}`);
    } else if (absent) this.say(proseText(result));
    else this.say(`${proseText(result)}\n\n${codeBlock(answer, languageOf(citations[0]?.path ?? ""))}`);
  }

  private say(markdown: string): void {
    if (markdown === "") return;
    this.said = true;
    this.stream.markdown(markdown);
  }
}

function memory({ question, answer, absent, citations, rows }: AskResult): AnswerMemory {
  const [cited] = citations.filter(({ verified }) => verified);
  const leftOut = rows.filter(({ included }) => !included).length;
  return { question, answer, absent, path: cited?.path, quote: cited?.quote, leftOut };
}

function nextQuestions({ metadata }: vscode.ChatResult): Followup[] {
  const planned: unknown = metadata?.["planned"];
  if (typeof planned === "string") return [{ prompt: planned, label: "Ask it" }];
  const answered = memoryOf(metadata);
  return answered === undefined ? [] : followups(answered);
}

function nothingToRead(scope: string, notRead: readonly string[]): EngineError {
  const because = notRead.length === 0 ? "" : ` (${notRead.join("; ")})`;
  return new EngineError(
    "empty-workspace",
    `there is no text file to read in ${scope}${because}`,
    "attach another file, include files in the Budget view, or open a folder with source files",
  );
}

function explain(stream: vscode.ChatResponseStream): vscode.ChatResult {
  stream.markdown(
    "Ask where something is defined, what a constant is, what a function returns, or which file imports a module. " +
      "The workspace is read by a model on this machine, at the levels of the Budget view.\n\n" +
      "Attach files, folders or a selection to read only those, or a context set of `.longcontext/` to read at its levels. " +
      "`/where name` finds a definition; `/plan question` says what a question would cost and leave out.",
  );
  stream.button({ command: commandIds.openPlayground, title: "Open the Playground" });
  return {};
}
