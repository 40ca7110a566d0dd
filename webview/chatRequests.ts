/** What VS Code's chat asks of the page, through the host. Whatever a person asked for in the panel goes first. */
import type { AskResult } from "../engine/generate/api.ts";
import { abortedError, EngineError } from "../engine/errors.ts";
import type { EngineClient, Host } from "./engine.ts";
import type { Handlers } from "./protocol/channel.ts";
import type { ChosenQuestion, PanelCalls, PanelSettings } from "./protocol/panel.ts";
import { askOptions } from "./state/promptPlan.ts";
import { sameTurns, threadHistory, busyWith } from "./state/store.ts";
import type { Action, Store } from "./state/store.ts";

/** A question as one of the panel's runs. */
export interface ChosenRun extends ChosenQuestion {
  id: string;
  settings: PanelSettings;
  /** Of who asked; the panel's own Stop ends the run too. Undefined where the panel asks again. */
  signal: AbortSignal | undefined;
}

/** What these requests need of the playground around them. */
export interface ChatRequestParts {
  store: Store;
  host: Pick<Host, "publish">;
  engine: Pick<EngineClient, "plan" | "reply">;
  dispatch: (action: Action) => void;
  run: (asked: ChosenRun) => Promise<AskResult>;
  /** Ends what gives way to whatever is asked for. */
  engineFree: () => Promise<void>;
  openEngine: () => void;
}

export interface ChatRequests {
  handlers: Pick<Handlers<PanelCalls>, "panel/answer" | "panel/plan" | "panel/reply">;
  /** Tells the host what its runs do. */
  follow: (action: Action) => void;
}

export function createChatRequests(parts: ChatRequestParts): ChatRequests {
  const { store, engine, dispatch } = parts;
  const asked = new Set<string>();
  const waiting = new Set<() => void>();
  let last: Promise<unknown> = Promise.resolve();
  /** What stands in the panel's box: a run of the chat must not replace it. */
  let typed = "";

  /** One after the other: each waits until the panel is idle, and begins with an engine that is at least opening. */
  async function inTurn<T>(signal: AbortSignal, work: (settings: PanelSettings) => Promise<T>): Promise<T> {
    const turn = last.then(async () => {
      const settings = await idle(signal);
      if (store.state.engine.status === "failed") parts.openEngine();
      return work(settings);
    });
    last = turn.catch(() => undefined);
    return turn;
  }

  /** The settings, once they are known and nothing runs. */
  function idle(signal: AbortSignal): Promise<PanelSettings> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const { settings } = store.state;
        const busy = busyWith(store.state);
        if (signal.aborted) end(() => reject(abortedError()));
        // It may take hours, and stopping it loses nothing.
        else if (busy === "searching") end(() => reject(searching()));
        else if (settings && busy === undefined) end(() => resolve(settings));
      };
      const end = (settle: () => void): void => {
        waiting.delete(look);
        signal.removeEventListener("abort", look);
        settle();
      };
      waiting.add(look);
      signal.addEventListener("abort", look);
      look();
    });
  }

  store.subscribe(() => {
    for (const look of [...waiting]) look();
  });

  /** Runs work whose events the host gets under this id. */
  async function followed<T>(runId: string, work: () => Promise<T>): Promise<T> {
    asked.add(runId);
    try {
      return await work();
    } finally {
      asked.delete(runId);
    }
  }

  return {
    follow(action) {
      if (action.type === "question") typed = action.text;
      if (action.type !== "runEvent" || !asked.has(action.runId)) return;
      parts.host.publish("run", { runId: action.runId, event: action.event });
    },
    handlers: {
      "panel/answer": ({ runId, ...question }, { signal }) =>
        inTurn(signal, (settings) =>
          followed(runId, async () => {
            typed = store.state.question;
            // The chat has a conversation of its own: the panel goes on with it only where it is the same one.
            const [first] = store.state.thread;
            if (first !== undefined && !sameTurns(threadHistory(store.state), question.history))
              dispatch({ type: "rewound", runId: first });
            try {
              return await parts.run({ ...question, id: runId, settings, signal });
            } finally {
              dispatch({ type: "question", text: typed });
            }
          }),
        ),
      "panel/plan": ({ question, files, first, history }, { signal }) =>
        inTurn(signal, async (settings) => {
          await parts.engineFree();
          return engine.plan({ question, files, first, history, options: askOptions(settings) }, signal);
        }),
      "panel/reply": ({ runId, messages, maxAnswerTokens, sampling: own }, { signal }) =>
        inTurn(signal, ({ rope, attention, sampling: chosen }) =>
          followed(runId, async () => {
            await parts.engineFree();
            dispatch({ type: "replyStarted" });
            try {
              const sampling = { ...chosen, ...own };
              const request = { messages, maxAnswerTokens, rope, attention, sampling };
              return await engine.reply({ runId, request }, signal);
            } finally {
              dispatch({ type: "replyEnded" });
            }
          }),
        ),
    },
  };
}

function searching(): EngineError {
  return new EngineError(
    "busy",
    "the engine searches LongRoPE's factors",
    "stop the search in the playground's RoPE lab; it can be gone on with later",
  );
}
