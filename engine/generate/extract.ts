/** A piece of an answer that claims to be in the files, and the file named beside it, if one of that path exists. */
export interface ClaimedQuote {
  quote: string;
  named: string | undefined;
}

/**
 * Quotes in free text: fenced blocks, and what stands between backticks or quotation marks and is more than a name. A bare `path:line` quotes
 * nothing: it is returned as it stands, because the line is only the model's word.
 */
export function extractQuotes(answer: string, paths: readonly string[]): ClaimedQuote[] {
  const quotes: ClaimedQuote[] = [];
  const fence = /^[ \t]*```[^\n]*\n([\s\S]*?)(?:^[ \t]*```|$(?![\s\S]))/gm;
  const prose = answer.replace(fence, (block, code: string, at: number) => {
    const quote = trimBlankLines(code);
    if (quote !== "") quotes.push({ quote, named: namedBefore(answer, at, paths) });
    return " ".repeat(block.length);
  });
  for (const match of prose.matchAll(/`([^`\n]+)`/g)) {
    const quote = (match[1] ?? "").trim();
    const place = placeIn(quote, paths);
    if (place !== undefined) quotes.push({ quote, named: place });
    else if (isQuote(quote, paths)) quotes.push({ quote, named: namedBefore(prose, match.index, paths) });
  }
  const words = prose.replace(/`[^`\n]*`/g, (code) => " ".repeat(code.length));
  for (const match of words.matchAll(/"([^"\n]+)"|“([^”\n]+)”/g)) {
    const quote = (match[1] ?? match[2] ?? "").trim();
    if (isQuote(quote, paths)) quotes.push({ quote, named: namedBefore(prose, match.index, paths) });
  }
  for (const match of words.matchAll(/[\w@$./-]*\w:\d+(?:-\d+)?/g)) {
    const named = placeIn(match[0], paths);
    if (named !== undefined) quotes.push({ quote: match[0], named });
  }
  return quotes;
}

/** A lone name or path is not a quote. */
function isQuote(text: string, paths: readonly string[]): boolean {
  return text.length >= 4 && !/^[\w$.]+(\(\))?$/.test(text) && !paths.includes(text);
}

/** The existing path of a `path:line`. */
function placeIn(text: string, paths: readonly string[]): string | undefined {
  const written = /^(.+?):\d+(?:-\d+)?$/.exec(text)?.[1];
  return written === undefined ? undefined : paths.find((path) => path === written);
}

/** The last existing path that the text names before a place, within its paragraph. */
function namedBefore(text: string, at: number, paths: readonly string[]): string | undefined {
  const before = text.slice(Math.max(0, at - NEARBY), at);
  let best: { path: string; at: number } | undefined;
  for (const path of paths) {
    const found = before.lastIndexOf(path);
    if (found >= 0 && (!best || found > best.at || (found === best.at && path.length > best.path.length)))
      best = { path, at: found };
  }
  return best?.path;
}

function trimBlankLines(code: string): string {
  return code.replace(/^(?:[ \t]*\n)+/, "").trimEnd();
}

/** Characters in front of a quote that may name its file. */
const NEARBY = 300;
