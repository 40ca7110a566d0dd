import { EngineError } from "../errors.ts";

/** What one remote model costs, as the user wrote it down; nothing is ever fetched. */
export interface ModelPrice {
  model: string;
  /** Sign or code in front of an amount. */
  currency: string;
  /** Per million tokens that go in. */
  inputPerMillion: number;
  /** Per million tokens of the answer; undefined where the user left it out. */
  outputPerMillion?: number;
}

/** What one question costs. */
export interface QuestionCost {
  price: ModelPrice;
  input: number;
  /** When the answer uses all that is reserved for it. */
  output?: number;
}

/** Reads a price table; throws `bad-argument` that names the row and what it may be. */
export function readPrices(value: unknown): ModelPrice[] {
  if (!Array.isArray(value)) throw bad("is not a list", "write [ { … } ]");
  const rows: readonly unknown[] = value;
  return rows.map((row, index) => readPrice(row, `row ${index + 1}`));
}

/** Cost of a pack and of the longest answer to it. */
export function questionCost(price: ModelPrice, packTokens: number, answerTokens: number): QuestionCost {
  const input = (price.inputPerMillion * packTokens) / 1e6;
  if (price.outputPerMillion === undefined) return { price, input };
  return { price, input, output: (price.outputPerMillion * answerTokens) / 1e6 };
}

/** "model: $0.12 to ask, up to $0.08 more for the answer". */
export function costText({ price, input, output }: QuestionCost): string {
  const asked = `${price.model}: ${amount(price.currency, input)} to ask`;
  return output === undefined ? asked : `${asked}, up to ${amount(price.currency, output)} more for the answer`;
}

const KEYS = new Set(["model", "currency", "inputPerMillion", "outputPerMillion"]);
const EXAMPLE = 'for example { "model": "my model", "inputPerMillion": 2.5, "outputPerMillion": 10, "currency": "$" }';

function readPrice(row: unknown, where: string): ModelPrice {
  if (typeof row !== "object" || row === null || Array.isArray(row)) throw bad(`has no object in ${where}`, EXAMPLE);
  const fields = new Map<string, unknown>(Object.entries(row));
  for (const key of fields.keys()) if (!KEYS.has(key)) throw bad(`has the unknown key "${key}" in ${where}`, EXAMPLE);
  const model = fields.get("model");
  if (typeof model !== "string" || model.trim() === "") throw bad(`has no model in ${where}`, EXAMPLE);
  const currency = fields.get("currency") ?? "$";
  if (typeof currency !== "string" || currency.length > 4)
    throw bad(`has a currency of more than 4 characters in ${where}`, EXAMPLE);
  const price: ModelPrice = {
    model: model.trim(),
    currency,
    inputPerMillion: rate(fields.get("inputPerMillion"), "inputPerMillion", where),
  };
  const output = fields.get("outputPerMillion");
  if (output !== undefined) price.outputPerMillion = rate(output, "outputPerMillion", where);
  return price;
}

function rate(value: unknown, key: string, where: string): number {
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
  throw bad(`has ${JSON.stringify(value) ?? "nothing"} as ${key} in ${where}`, `give a number of at least 0, ${EXAMPLE}`);
}

/** Two decimals, or as many as a small amount needs to be more than nothing. */
function amount(currency: string, value: number): string {
  const space = /[A-Za-z]$/.test(currency) ? " " : "";
  if (value === 0 || value >= 0.005) return `${currency}${space}${value.toFixed(2)}`;
  return value < 0.0001 ? `<${currency}${space}0.0001` : `${currency}${space}${value.toFixed(4)}`;
}

function bad(what: string, remedy: string): EngineError {
  return new EngineError("bad-argument", `the price table ${what}`, remedy);
}
