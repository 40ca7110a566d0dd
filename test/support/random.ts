/** A seeded stream of numbers in [0, 1), so that a failing test fails again. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Text of words, blanks, line breaks, scripts of two to four bytes, and combining marks. */
export function randomText(random: () => number, maxLength: number): string {
  const pieces = [
    "the",
    "other",
    "er",
    "__",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "é",
    "e\u0301",
    "東京",
    "🙂",
    "\u2581",
    "0",
    "(",
    "<|end|>",
    "\u200b",
    "ß",
  ];
  let text = "";
  while (text.length < maxLength * random()) text += pieces[Math.floor(random() * pieces.length)] ?? "";
  return text;
}
