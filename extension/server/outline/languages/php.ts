import type { Node } from "web-tree-sitter";
import { childOfType, childrenOfType, present } from "../nodes.ts";
import type { Language, Rule, Visit } from "../rules.ts";

const typeRule = (kind: string): Rule => ({ keep: "head", kind, members: "type" });

const INCLUDES = /^(?:include|require)(?:_once)?_expression$/;
const CALLS = new Set(["function_call_expression", "member_call_expression", "scoped_call_expression"]);

/** `require`, `define("NAME", …)`, and a function under a string, such as `$app->get("/…", function () {…})`. */
const statement: Visit = (node, walk, place) => {
  const expression = node.namedChild(0);
  if (!expression) return;
  if (INCLUDES.test(expression.type)) walk.declare(node, { keep: "whole", names: [] }, place);
  if (!CALLS.has(expression.type)) return;
  const values = childrenOfType(expression.childForFieldName("arguments"), "argument").flatMap((it) => present(it.namedChild(0)));
  const callback = values.find(({ type }) => type === "anonymous_function" || type === "arrow_function");
  const [subject] = values;
  if (subject?.type !== "string" && subject?.type !== "encapsed_string") return;
  const names = [walk.textOf(subject)];
  const callee = expression.childForFieldName("function");
  if (callee && walk.textOf(callee) === "define") walk.declare(node, { keep: "value", kind: "constant", names }, place);
  else if (callback) {
    const body = callback.childForFieldName("body");
    walk.declare(node, { keep: "head", kind: "handler", names, body, defines: false }, place);
  }
};

const constantNames = (node: Node): Node[] =>
  childrenOfType(node, "const_element").flatMap((element) => present(childOfType(element, "name")));

const propertyNames = (node: Node): Node[] =>
  childrenOfType(node, "property_element").flatMap((element) => present(element.childForFieldName("name")));

export const php: Language = {
  grammar: "php",
  rules: {
    comment: "comment",
    namespace_definition: { keep: "head", members: "module" },
    namespace_use_declaration: { keep: "whole" },
    expression_statement: statement,
    const_declaration: { keep: "value", kind: "constant", names: constantNames },
    function_definition: { keep: "head", kind: "function" },
    class_declaration: typeRule("class"),
    interface_declaration: typeRule("interface"),
    trait_declaration: typeRule("trait"),
    enum_declaration: typeRule("enum"),
    enum_case: { keep: "value" },
    use_declaration: { keep: "line" },
    method_declaration: { keep: "head", kind: "method" },
    property_declaration: { keep: "value", kind: "property", names: propertyNames },
    if_statement: "holds",
    else_clause: "holds",
    compound_statement: "holds",
    colon_block: "holds",
  },
};
