"""Fixed texts of the golden files: one real prompt, and strings that tokenizers get wrong."""

from questions import ABSENT

LONG_PROMPT = """\
=== src/client.ts ===
import { backoffDelay, RETRY_CEILING } from "./net/backoff";

export async function fetchWithRetry(url: string, attempts = 5): Promise<Response> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const response = await fetch(url);
    if (response.ok) return response;
    await sleep(backoffDelay(attempt));
  }
  throw new Error(`gave up on ${url} after ${RETRY_CEILING} ms`);
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
=== src/net/backoff.ts ===
// The longest pause between two attempts, in milliseconds.
export const RETRY_CEILING = 30_000;

/** Doubles with every attempt, with jitter, up to the ceiling. */
export function backoffDelay(attempt: number, random = Math.random): number {
  const exponential = 250 * 2 ** attempt;
  return Math.min(RETRY_CEILING, exponential * (0.5 + random() / 2));
}
Q: Where is `backoffDelay` defined?
A: """

TOKENIZER_SAMPLES = [
    "",
    " ",
    "\n",
    "\n\n\n",
    "\t",
    "\t\tif err != nil {\n\t\t\treturn nil, err\n\t\t}\n",
    "a",
    "hello world",
    "  leading and trailing  ",
    "one\r\ntwo\r\nthree\r\n",
    "lone\rcarriage return",
    "tabs\tbetween\twords",
    " \t mixed \t blanks \n",
    "export const RETRY_CEILING = 30_000;\n",
    "    return Math.min(RETRY_CEILING, exponential * (0.5 + random() / 2));\n",
    "def __init__(self, *args: Any, **kwargs: Any) -> None:\n",
    "func (c *Client) Do(req *Request) (*Response, error) {\n",
    "const { a, b: { c } } = require('./x-y.js');",
    "/** Doubles with every attempt. */",
    "   * @param {string} name  the name",
    "// comment",
    "# comment",
    "=== src/net/backoff.ts ===\n",
    "Q: Where is `backoffDelay` defined?\nA: ",
    "Q: where's RETRY_CEILING\nA: export const RETRY_CEILING = 30_000;\n",
    f"A: {ABSENT}\n",
    f"A:{ABSENT}",
    "<|end|>",
    "<|pad|>",
    f"text <|end|> inside{ABSENT}and<|pad|>after\n",
    "almost <|end| > special <|absen",
    "<|ABSENT|>",
    "$scope._private$ = jQuery$;",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case",
    "0 1 12 123 1234567890 0x1F 1e-9 3.14159 1_000_000",
    "a+b-c*d/e%f**g",
    "x === y !== z == w != v => u >= t <= s ?? r?.q",
    "((((((((((nested))))))))))",
    "[[1, 2], [3, 4]]",
    "'single' \"double\" `back ${tick}`",
    "<div className=\"a\">text &amp; more</div>",
    "https://example.com/path/to?query=1&other=two#fragment",
    "C:\\Users\\name\\file.txt",
    "----------------------------------------",
    "================ ################",
    "\u00e9t\u00e9 na\u00efve fa\u00e7ade co\u00f6perate",
    "e\u0301 combining",
    "\u4f60\u597d\uff0c\u4e16\u754c",
    "\u3053\u3093\u306b\u3061\u306f \u4e16\u754c",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "emoji \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f done",
    "no\u00a0break\u2003em\u3000wide spaces",
    "line\u2028separator\u2029paragraph\u0085next",
    "\ufeffbyte order mark",
    "zero\u200bwidth",
    "\u0000\u0001\u007f control",
    "form\ffeed vertical\vtab",
    "arrow \u2192 and \u2260 and \u2026 and \u201cquotes\u201d",
    "x" * 40,
    " " * 40 + "deep",
    "aaaaaaaaaa bbbbbbbbbb AAAAAAAAAA 0000000000",
    "\U0001d4d0\U0001d4d1 astral letters",
]
