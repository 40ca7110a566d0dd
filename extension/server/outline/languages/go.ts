import type { Node } from "web-tree-sitter";
import { childOfType } from "../nodes.ts";
import type { Language, Visit } from "../rules.ts";

/** `const (…)`, `var (…)` and `type (…)` keep their first line and are gone through; without parentheses it is one declaration. */
const group: Visit = (node, walk, place) => {
  const grouped = node.children.some(({ type }) => type === "(") || childOfType(node, "var_spec_list") !== undefined;
  const body = childOfType(node, "var_spec_list") ?? node;
  if (grouped) walk.declare(node, { keep: "line", names: [], body, members: "module" }, place);
  else walk.children(node, walk.wrapped(node, place));
};

/** A struct by its fields, an interface by its methods, any other type as a whole. */
const type: Visit = (node, walk, place) => {
  const names = node.childrenForFieldName("name").map((name) => walk.textOf(name));
  const definition = node.childForFieldName("type");
  if (definition?.type === "struct_type") {
    const body = childOfType(definition, "field_declaration_list");
    walk.declare(node, { keep: "head", kind: "struct", names, body, members: "type" }, place);
  } else if (definition?.type === "interface_type") {
    // Its methods stand in it without a list around them: the head ends where it begins.
    walk.declare(node, { keep: "line", kind: "interface", names, body: definition, members: "type" }, place);
  } else {
    walk.declare(node, { keep: "type", kind: "type", names }, place);
  }
};

const fieldNames = (node: Node): Node[] => node.childrenForFieldName("name");

export const go: Language = {
  grammar: "go",
  rules: {
    comment: "comment",
    package_clause: { keep: "whole" },
    import_declaration: { keep: "whole" },
    const_declaration: group,
    var_declaration: group,
    type_declaration: group,
    const_spec: { keep: "value", kind: "constant", names: fieldNames },
    var_spec: { keep: "value", kind: "variable", names: fieldNames },
    type_spec: type,
    type_alias: type,
    function_declaration: { keep: "head", kind: "function" },
    method_declaration: { keep: "head", kind: "method" },
    field_declaration: { keep: "value", kind: "field", names: fieldNames },
    method_elem: { keep: "type", kind: "method" },
    type_elem: { keep: "type" },
  },
};
