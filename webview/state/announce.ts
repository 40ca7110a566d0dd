/** What a screen reader is told, by one polite live region: the state of the panel, and an answer by whole lines and sentences. Pure. */
import type { SavedRun } from "../protocol/panel.ts";
import type { LiveRun } from "./store.ts";
import { exact, plural, stopText } from "./words.ts";

/** What was told so far. */
export interface Told {
  status: string;
  note: string | undefined;
  /** The run that is being written, and how many characters of its answer were told. */
  live: { id: string; characters: number } | undefined;
}

/** What there is to tell. */
export interface Tellable {
  /** One line for the whole panel, without running numbers. */
  status: string;
  note: string | undefined;
  live: Pick<LiveRun, "id" | "text" | "provisional"> | undefined;
  finished: SavedRun | undefined;
}

/** Characters of one answer that are read out at most: more would be read long after it was written. */
export const MAX_TOLD_CHARACTERS = 4000;

export const nothingTold: Told = { status: "", note: undefined, live: undefined };

/** The next thing to say, empty where there is none, and what is told then. */
export function announce(told: Told, now: Tellable): { told: Told; say: string } {
  const said: string[] = [];
  if (now.note !== undefined && now.note !== told.note) said.push(now.note);
  let live = told.live;
  if (now.live) {
    if (live?.id !== now.live.id) live = { id: now.live.id, characters: 0 };
    const end = now.live.provisional ? live.characters : toldUpTo(now.live.text, live.characters);
    if (end > live.characters) said.push(now.live.text.slice(live.characters, end).trim());
    live = { ...live, characters: end };
  } else if (live) {
    if (now.finished?.id === live.id) said.push(ending(now.finished, live.characters));
    live = undefined;
  }
  // That the panel is ready again is no news beside the answer.
  const hasEnded = told.live !== undefined && live === undefined;
  if (!hasEnded && now.status !== told.status && now.status !== "") said.unshift(now.status);
  return { told: { status: now.status, note: now.note, live }, say: said.filter((text) => text !== "").join("\n") };
}

/** The end of the last whole line or sentence behind `from`, or `from` where none ended or enough was told. */
function toldUpTo(text: string, from: number): number {
  if (from >= MAX_TOLD_CHARACTERS) return from;
  const fresh = text.slice(from, MAX_TOLD_CHARACTERS);
  let end = 0;
  for (const { index, 0: mark } of fresh.matchAll(/\n|[.!?…]["')\]]*\s|[。！？]/g)) end = index + mark.length;
  return from + end;
}

function ending({ result }: SavedRun, told: number): string {
  if (result.absent) return "The model says that the answer is not in these files.";
  const rest = result.answer.slice(told, Math.max(told, MAX_TOLD_CHARACTERS)).trim();
  const more = result.answer.length > MAX_TOLD_CHARACTERS ? `The answer has ${exact(result.answer.length)} characters.` : "";
  const quotes = plural(result.citations.filter(({ verified }) => verified).length, "verified citation");
  return [rest, more, stopText(result) ?? "", `Answered with ${quotes}.`].filter((text) => text !== "").join("\n");
}
