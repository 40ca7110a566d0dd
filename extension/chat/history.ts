/** Earlier turns of a chat as the engine's history, within a budget. No `vscode`. */

export interface ChatTurn {
  question: string;
  answer: string;
}

/** What the participant remembers of its own answer: VS Code keeps it with the chat. */
export interface AnswerMemory extends ChatTurn {
  /** The model said that the answer is not in the files. */
  absent: boolean;
  /** The first cited file, if one was cited. */
  path: string | undefined;
  /** The first quote. */
  quote: string | undefined;
  /** Files that did not fit. */
  leftOut: number;
}

/** The share of the model's context that earlier turns may take: the files are what the question is about. */
export const historyShare = 0.25;

export interface BudgetedHistory {
  /** Oldest first. */
  turns: ChatTurn[];
  /** Older turns that did not fit. */
  dropped: number;
}

/** The newest turns whose tokens fit together, without gaps: a turn is not understood without the one after it. */
export async function historyWithin(
  turns: readonly ChatTurn[],
  budgetTokens: number,
  count: (text: string) => Promise<number>,
): Promise<BudgetedHistory> {
  const kept: ChatTurn[] = [];
  let left = budgetTokens;
  for (const turn of turns.toReversed()) {
    left -= await count(`${turn.question}\n${turn.answer}\n`);
    if (left < 0) break;
    kept.unshift(turn);
  }
  return { turns: kept, dropped: turns.length - kept.length };
}

/** What VS Code gives back of an earlier answer; undefined for anything that this participant did not answer. */
export function memoryOf(metadata: unknown): AnswerMemory | undefined {
  if (typeof metadata !== "object" || metadata === null) return undefined;
  const { question, answer, absent, path, quote, leftOut }: Partial<Record<keyof AnswerMemory, unknown>> = metadata;
  if (typeof question !== "string" || typeof answer !== "string") return undefined;
  return {
    question,
    answer,
    absent: absent === true,
    path: typeof path === "string" ? path : undefined,
    quote: typeof quote === "string" ? quote : undefined,
    leftOut: typeof leftOut === "number" ? leftOut : 0,
  };
}
