import type { Node } from "web-tree-sitter";
import type { Language, Place, Rules, Visit } from "../rules.ts";
import { childOfType, childrenOfType, present, rowsOf } from "../nodes.ts";
import type { Walk } from "../walk.ts";
import { bodyOf, call, isFunction, unwrap } from "./javascriptCalls.ts";

/** `module.exports`, `exports`, and what is below them. */
const EXPORTS = /^(?:module\.)?exports\b/;
/** Objects from this many lines on are shown by their functions; shorter ones are kept like any value. */
const LONG_OBJECT_LINES = 4;
/** Babel's and TypeScript's first lines of a module: `exports.a = exports.b = void 0`. */
const VOID = /^(?:void 0|undefined)$/;

interface Binding {
  /** The lines of it. */
  node: Node;
  name: Node | string | null;
  value: Node | null;
  /** What it is where the value is neither a function nor a class. */
  kind: string;
  /** All names of an object count, because it is what the module exports. */
  exports?: boolean;
}

/** A name and its value: functions and classes as if they had been declared, of an object its functions. */
function bind({ node, name, value, kind, exports }: Binding, walk: Walk, place: Place): void {
  const names = typeof name === "string" ? [name] : boundNames(name).map((it) => walk.textOf(it));
  // `default` and `exports` are no names that others use.
  const defines = typeof name !== "string";
  const inner = unwrap(value);
  const type = inner?.type ?? "";
  if (inner && isFunction(type)) {
    const callable = place.inType ? "method" : "function";
    walk.declare(node, { keep: "head", kind: callable, names, body: bodyOf(inner), defines }, place);
  } else if (inner && type === "class") {
    walk.declare(node, { keep: "head", kind: "class", names, body: bodyOf(inner), members: "type", defines }, place);
  } else if (inner && type === "object" && isLong(node)) {
    walk.declare(node, { keep: "head", kind, names, body: inner, members: "type", defines }, place);
    if (exports === true) walk.keepFirstLines(inner.namedChildren.filter((child) => child.type !== "comment"));
  } else if (inner && type === "call_expression") {
    result(inner, { node, names, kind, defines }, walk, place);
  } else {
    walk.declare(node, { keep: "value", kind, names, defines }, place);
  }
}

/** What a call gives: another module, or a function around the one in it, as in `const save = debounce(() => {…})`. */
function result(call: Node, { node, ...named }: Named, walk: Walk, place: Place): void {
  const callee = call.childForFieldName("function");
  const callback = call.childForFieldName("arguments")?.namedChildren.find(({ type }) => isFunction(type));
  if (callee && /^(?:require|import)$/.test(walk.textOf(callee))) walk.declare(node, { keep: "whole", names: [] }, place);
  else if (callback) walk.declare(node, { keep: "head", ...named, body: bodyOf(callback) }, place);
  else walk.declare(node, { keep: "value", ...named }, place);
}

interface Named {
  node: Node;
  names: readonly string[];
  kind: string;
  defines: boolean;
}

function isLong(node: Node): boolean {
  const { first, last } = rowsOf(node);
  return last - first + 1 >= LONG_OBJECT_LINES;
}

const variables: Visit = (statement, walk, place) => {
  const kind = walk.text.startsWith("const", statement.startIndex) ? "constant" : "variable";
  const declarators = childrenOfType(statement, "variable_declarator");
  const whole = place.outer ?? rowsOf(statement);
  declarators.forEach((node, i) => {
    const last = declarators.length === 1 ? whole.last : rowsOf(node).last;
    const outer = i === 0 ? { first: whole.first, last } : undefined;
    const within = { ...place, outer, leading: i === 0 ? place.leading : undefined };
    bind({ node, kind, name: node.childForFieldName("name"), value: node.childForFieldName("value") }, walk, within);
  });
};

const exported: Visit = (node, walk, place) => {
  const declaration = node.childForFieldName("declaration");
  const value = node.childForFieldName("value");
  if (declaration) walk.enter(declaration, walk.wrapped(node, place));
  else if (value) bind({ node, name: "default", value, kind: "constant", exports: true }, walk, place);
  else walk.declare(node, { keep: "whole", names: [], counts: true }, place);
};

const field: Visit = (node, walk, place) => {
  const name = node.childForFieldName("name") ?? node.childForFieldName("property");
  bind({ node, name, value: node.childForFieldName("value"), kind: "field" }, walk, place);
};

/** Of what an object holds, only its functions. */
const pair: Visit = (node, walk, place) => {
  const value = node.childForFieldName("value");
  if (isFunction(unwrap(value)?.type)) bind({ node, name: node.childForFieldName("key"), value, kind: "field" }, walk, place);
};

const statement: Visit = (node, walk, place) => {
  const inner = unwrap(node.namedChild(0));
  if (inner?.type === "assignment_expression") assignment(node, inner, walk, place);
  else if (inner?.type === "call_expression") call(node, inner, walk, place);
  else if (inner?.type === "internal_module") walk.enter(inner, walk.wrapped(node, place));
};

/** What a module exports, and methods that are added to a type; no other assignment declares anything. */
function assignment(node: Node, expression: Node, walk: Walk, place: Place): void {
  const left = expression.childForFieldName("left");
  if (left?.type !== "member_expression") return;
  let value = expression.childForFieldName("right");
  while (value?.type === "assignment_expression") value = value.childForFieldName("right");
  const target = walk.textOf(left);
  const inner = unwrap(value);
  const declares = isFunction(inner?.type) || inner?.type === "class";
  if (/^(?:module\.)?exports$/.test(target)) {
    bind({ node, name: "exports", value, kind: "constant", exports: true }, walk, place);
  } else if (target.endsWith(".prototype") && inner?.type === "object") {
    walk.children(inner, { ...walk.inside(place), inType: true });
  } else if (declares || (EXPORTS.test(target) && value && !VOID.test(walk.textOf(value)))) {
    const within = { ...place, inType: target.includes(".prototype.") };
    bind({ node, name: left.childForFieldName("property"), value, kind: "constant" }, walk, within);
  }
}

/** `declare global {…}` has a block where other ambient declarations have a declaration. */
const ambient: Visit = (node, walk, place) => {
  const body = childOfType(node, "statement_block");
  if (body)
    walk.declare(node, { keep: "line", kind: "module", names: ["global"], body, members: "module", defines: false }, place);
  else walk.children(node, walk.wrapped(node, place));
};

/** The names that a variable or a pattern introduces. */
function boundNames(name: Node | null): Node[] {
  if (name?.type !== "object_pattern" && name?.type !== "array_pattern") return present(name);
  return name.descendantsOfType(["identifier", "shorthand_property_identifier_pattern"]);
}

/** Of JavaScript, TypeScript and their JSX: the grammars agree on the names that they have in common. */
export const javascriptRules: Rules = {
  comment: "comment",
  decorator: "attribute",
  import_statement: { keep: "whole" },
  import_alias: { keep: "whole" },
  export_statement: exported,
  function_declaration: { keep: "head", kind: "function" },
  generator_function_declaration: { keep: "head", kind: "function" },
  function_signature: { keep: "head", kind: "function" },
  class_declaration: { keep: "head", kind: "class", members: "type" },
  abstract_class_declaration: { keep: "head", kind: "class", members: "type" },
  interface_declaration: { keep: "head", kind: "interface", members: "type" },
  type_alias_declaration: { keep: "type", kind: "type" },
  enum_declaration: { keep: "type", kind: "enum" },
  internal_module: { keep: "head", kind: "namespace", members: "module" },
  module: { keep: "head", kind: "module", members: "module" },
  ambient_declaration: ambient,
  lexical_declaration: variables,
  variable_declaration: variables,
  expression_statement: statement,
  method_definition: { keep: "head", kind: "method" },
  method_signature: { keep: "head", kind: "method" },
  abstract_method_signature: { keep: "head", kind: "method" },
  public_field_definition: field,
  field_definition: field,
  property_signature: { keep: "type", kind: "property" },
  index_signature: { keep: "type" },
  call_signature: { keep: "type" },
  construct_signature: { keep: "type" },
  pair,
};

export const javascript: Language = { grammar: "javascript", rules: javascriptRules };
export const typescript: Language = { grammar: "typescript", rules: javascriptRules };
export const tsx: Language = { grammar: "tsx", rules: javascriptRules };
