import type { Node } from "web-tree-sitter";
import type { Place } from "../rules.ts";
import type { Walk } from "../walk.ts";

const FUNCTIONS = new Set(["arrow_function", "function_expression", "generator_function"]);
const STRINGS = new Set(["string", "template_string"]);
/** What only says more about the expression in it. */
const AROUND = new Set([
  ...["parenthesized_expression", "as_expression", "satisfies_expression", "non_null_expression"],
  ...["await_expression", "unary_expression"],
]);

/** Test frameworks agree on these names; `it.only` and `test.each([…])` begin with them too. */
const TESTS = /^(?:[fx]?describe|context|suite|[fx]?it|test|specify|bench)\b/;
const SUITES = /^(?:[fx]?describe|context|suite)\b/;
/** Suites and what is directly in them are shown, deeper tests are not. */
const TEST_LEVELS = 2;
/** Calls whose function is the module itself. */
const MODULE_CALLS = /^(?:define|require|requirejs|jQuery|\$)$/;

export function isFunction(type: string | undefined): boolean {
  return type !== undefined && FUNCTIONS.has(type);
}

export function bodyOf(node: Node): Node | null {
  return node.childForFieldName("body");
}

/** The expression itself, out of parentheses, type assertions, `await` and `!`. */
export function unwrap(node: Node | null): Node | null {
  let inner = node;
  while (inner && AROUND.has(inner.type)) inner = inner.childForFieldName("argument") ?? inner.namedChild(0);
  return inner;
}

/**
 * What a statement that calls something declares: the program in a function that is called at once, tests and handlers by
 * their names, an export of a compiled module.
 */
export function call(node: Node, expression: Node, walk: Walk, place: Place): void {
  const callee = expression.childForFieldName("function");
  const values = expression.childForFieldName("arguments")?.namedChildren ?? [];
  const name = callee ? walk.textOf(callee) : "";
  const program = calledFunction(callee);
  if (program || MODULE_CALLS.test(name)) {
    for (const it of [program, ...values.map(unwrap)]) {
      const body = it && isFunction(it.type) ? bodyOf(it) : null;
      if (body) walk.children(body, walk.inside(place));
    }
  } else if (name === "Object.defineProperty") {
    definedProperty(node, values, walk, place);
  } else {
    registered({ node, expression, level: 1 }, walk, place);
  }
}

/** The function of `(function () {…})()` and `(function () {…}).call(this)`. */
function calledFunction(callee: Node | null): Node | null {
  const inner = unwrap(callee);
  const called = inner?.type === "member_expression" ? unwrap(inner.childForFieldName("object")) : inner;
  return isFunction(called?.type) ? called : null;
}

/** Compiled modules export by `Object.defineProperty(exports, "name", …)`. */
function definedProperty(node: Node, [object, property]: readonly Node[], walk: Walk, place: Place): void {
  if (!object || !property || walk.textOf(object) !== "exports") return;
  const name = walk.textOf(property);
  if (!name.includes("__esModule")) walk.declare(node, { keep: "line", kind: "constant", names: [name] }, place);
}

interface Registration {
  node: Node;
  expression: Node;
  /** 1 for what stands at the top of a file. */
  level: number;
}

/** A function under a string, such as a test or `app.get("/…", (request) => {…})`; of a suite also what is directly in it. */
function registered({ node, expression, level }: Registration, walk: Walk, place: Place): void {
  const name = walk.textOf(expression);
  const values = expression.childForFieldName("arguments")?.namedChildren ?? [];
  const [subject] = values;
  const callback = values.find(({ type }) => isFunction(type));
  const isTest = TESTS.test(name);
  if (!callback || callback === subject || !(isTest || STRINGS.has(subject.type))) return;
  const body = bodyOf(callback);
  const names = [walk.textOf(subject)];
  const kind = isTest ? "test" : "handler";
  const symbol = walk.declare(node, { keep: "head", kind, names, body, defines: false }, place);
  if (!symbol || !SUITES.test(name) || level >= TEST_LEVELS) return;
  const within = { ...walk.inside(place), symbols: symbol.children };
  for (const inside of body?.namedChildren ?? []) {
    const inner = inside.type === "expression_statement" ? unwrap(inside.namedChild(0)) : null;
    if (inner?.type === "call_expression" && TESTS.test(walk.textOf(inner)))
      registered({ node: inside, expression: inner, level: level + 1 }, walk, within);
  }
}
