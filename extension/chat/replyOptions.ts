import type { Sampling } from "../../engine/api.ts";
import { EngineError } from "../../engine/errors.ts";

/** What a reply is asked with beside its messages. */
export interface ReplyOptions {
  maxAnswerTokens: number;
  /** What the caller sets; the playground's settings give the rest. */
  sampling: Partial<Sampling>;
}

/** The names that callers use for one option, and the numbers that it takes. */
const OPTIONS = {
  temperature: { names: ["temperature"], takes: "a number from 0 to 2", fits: (value: number) => value >= 0 && value <= 2 },
  topP: { names: ["top_p", "topP"], takes: "a number above 0, at most 1", fits: (value: number) => value > 0 && value <= 1 },
  seed: {
    names: ["seed"],
    takes: "a whole number from 0 to 4294967295",
    fits: (value: number) => isWhole(value) && value < 2 ** 32,
  },
  maxAnswerTokens: {
    names: ["max_tokens", "maxTokens", "max_completion_tokens", "maxOutputTokens"],
    takes: "a whole number above 0",
    fits: (value: number) => isWhole(value) && value > 0,
  },
} as const;

function isWhole(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/**
 * Reads the `modelOptions` of a request by the names that chat APIs give them. A reply gets no longer than `mostTokens`, whatever is asked. `unused`
 * are options that are none of these. Throws `bad-argument` for a value that an option does not take: a caller who sets one relies on it.
 */
export function replyOptions(
  given: Readonly<Record<string, unknown>> | undefined,
  mostTokens: number,
): ReplyOptions & { unused: string[] } {
  const entries = Object.entries(given ?? {}).filter(([, value]) => value !== undefined && value !== null);
  const known = Object.entries(OPTIONS).flatMap(([option, { names, takes, fits }]) =>
    entries
      .filter(([name]) => names.some((one) => one === name))
      .map(([name, value]) => {
        if (typeof value === "number" && fits(value)) return { option, name, value };
        throw new EngineError(
          "bad-argument",
          `${name} is ${JSON.stringify(value)}, and takes ${takes}`,
          "correct it, or leave it out",
        );
      }),
  );
  const valueOf = (option: keyof typeof OPTIONS): number | undefined => known.find((one) => one.option === option)?.value;
  const sampling: Partial<Sampling> = {};
  for (const option of ["temperature", "topP", "seed"] as const) {
    const value = valueOf(option);
    if (value !== undefined) sampling[option] = value;
  }
  return {
    maxAnswerTokens: Math.min(mostTokens, valueOf("maxAnswerTokens") ?? mostTokens),
    sampling,
    unused: entries.map(([name]) => name).filter((name) => !known.some((one) => one.name === name)),
  };
}
