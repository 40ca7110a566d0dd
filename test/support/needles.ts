/** Lines that are planted in a text of tokens, and the questions that only their values answer. */
import type { Runner } from "../../engine/api.ts";

export interface Needle {
  /** `ids` of what is planted: a question, and behind it the value. */
  question: readonly number[];
  value: readonly number[];
}

export interface PlantedNeedle extends Needle {
  /** Token that its question begins at. */
  at: number;
}

/** The first `tokens` tokens of the text, with each needle in the place of as many of them. */
export function plant(text: Int32Array, tokens: number, needles: readonly PlantedNeedle[]): Int32Array<ArrayBuffer> {
  if (text.length < tokens) throw new RangeError(`the text has ${text.length} tokens, and ${tokens} are asked for`);
  const ids = Int32Array.from(text.subarray(0, tokens));
  for (const { question, value, at } of needles) ids.set([...question, ...value], at);
  return ids;
}

/** Places where a pair of neighbours of the needle that leads to a token of its value stands elsewhere too. */
export function ambiguities(ids: Int32Array, { question, value, at }: PlantedNeedle): number {
  const line = [...question, ...value];
  let found = 0;
  for (let i = 0; i + 1 < ids.length; i++) {
    if (i >= at && i < at + line.length) continue;
    for (let j = question.length - 2; j + 2 < line.length; j++) if (ids[i] === line[j] && ids[i + 1] === line[j + 1]) found++;
  }
  return found;
}

/**
 * Asks for a needle behind what the runner has read, whose length must be one that it can go back to, decodes greedily as many tokens as the
 * value has, and forgets question and answer: a wrong answer would be one more place that later ones are found in.
 */
export async function ask(runner: Runner, { question, value }: Needle): Promise<number[]> {
  const { length } = runner;
  // The last token comes alone: policies that differ in decoding count it as decoded.
  if (question.length > 1) await runner.append(question.slice(0, -1));
  await runner.append(question.slice(-1));
  const answer = [await greedy(runner)];
  while (answer.length < value.length) {
    await runner.append(answer.slice(-1));
    answer.push(await greedy(runner));
  }
  if (runner.truncate(length) !== length) throw new RangeError(`the runner cannot go back to ${length} tokens`);
  return answer;
}

function greedy(runner: Runner): Promise<number> {
  return runner.sample({ temperature: 0, topP: 1, seed: 1 });
}
