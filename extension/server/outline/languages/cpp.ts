import type { Node } from "web-tree-sitter";
import { childOfType, present } from "../nodes.ts";
import type { Language, Visit } from "../rules.ts";
import type { Walk } from "../walk.ts";

const TYPES = new Map([
  ["class_specifier", "class"],
  ["struct_specifier", "struct"],
  ["union_specifier", "union"],
  ["enum_specifier", "enum"],
]);

/** The declarator of a name, out of the pointers, arrays, parameters and initial values around it. */
function innermost(declarator: Node | null): Node | null {
  let inner = declarator;
  while (inner && inner.type !== "operator_cast") {
    const next = inner.childForFieldName("declarator") ?? unlabelled(inner);
    if (!next) return inner;
    inner = next;
  }
  return inner;
}

/** Parentheses and references have their declarator in no field. */
function unlabelled(node: Node): Node | null {
  if (node.type !== "parenthesized_declarator" && node.type !== "reference_declarator") return null;
  return node.namedChildren[node.namedChildren.length - 1] ?? null;
}

/** Whether a declarator is that of a function, and not of a pointer to one. */
function isFunction(declarator: Node | null): boolean {
  let inner = declarator;
  while (inner && inner.type !== "function_declarator") inner = inner.childForFieldName("declarator") ?? unlabelled(inner);
  return inner?.childForFieldName("declarator")?.type !== "parenthesized_declarator" && inner !== null;
}

function namesOf(node: Node, walk: Walk): { names: string[]; nameRow: number | undefined } {
  const named = node.childrenForFieldName("declarator").flatMap((declarator) => present(innermost(declarator)));
  const names = named.map((name) => {
    const type = name.type === "operator_cast" ? name.childForFieldName("type") : null;
    const text = type ? `operator ${walk.textOf(type)}` : walk.textOf(name);
    // Written apart, because it is no name that others use.
    return text.replace(/\boperator\b\s*/, "operator ");
  });
  return { names, nameRow: named[0]?.startPosition.row };
}

/** Types with a body; one without is only named ahead. */
const type: Visit = (node, walk, place) => {
  const body = node.childForFieldName("body");
  const names = present(node.childForFieldName("name")).map((name) => walk.textOf(name));
  const kind = TYPES.get(node.type);
  if (!body) walk.declare(node, { keep: "line", names: [] }, place);
  else walk.declare(node, { keep: "head", kind, names, body, members: "type" }, place);
};

const functionDefinition: Visit = (node, walk, place) => {
  const named = namesOf(node, walk);
  const isMember = place.inType || named.names.some((name) => name.includes("::"));
  // What a constructor sets up belongs to its body.
  const body = childOfType(node, "field_initializer_list") ?? node.childForFieldName("body");
  walk.declare(node, { keep: "head", kind: isMember ? "method" : "function", ...named, body }, place);
};

/** Variables, fields and prototypes; of `struct point {…} origin;` also the type. */
const declaration: Visit = (node, walk, place) => {
  const specifier = node.childForFieldName("type");
  const inType = place.inType;
  const named = namesOf(node, walk);
  if (specifier && TYPES.has(specifier.type) && specifier.childForFieldName("body")) {
    walk.enter(specifier, walk.wrapped(node, place));
    walk.keepFirstLines(node.childrenForFieldName("declarator"));
  } else if (isFunction(node.childForFieldName("declarator"))) {
    walk.declare(node, { keep: "head", kind: inType ? "method" : "function", ...named }, place);
  } else {
    walk.declare(node, { keep: "value", kind: inType ? "field" : "variable", ...named }, place);
  }
};

/** `typedef struct {…} name;` is the type of that name. */
const typeDefinition: Visit = (node, walk, place) => {
  const named = namesOf(node, walk);
  const body = node.childForFieldName("type")?.childForFieldName("body");
  if (!body) walk.declare(node, { keep: "type", kind: "type", ...named }, place);
  else walk.declare(node, { keep: "head", kind: "type", ...named, body, members: "type" }, place);
  walk.keepFirstLines(node.childrenForFieldName("declarator"));
};

/** A macro with a value; one without is a guard or a switch. */
const macro: Visit = (node, walk, place) => {
  const names = present(node.childForFieldName("name")).map((name) => walk.textOf(name));
  if (node.childForFieldName("value")) walk.declare(node, { keep: "value", kind: "macro", names }, place);
};

/** C is read as C++. */
export const cpp: Language = {
  grammar: "cpp",
  rules: {
    comment: "comment",
    preproc_include: { keep: "whole" },
    preproc_def: macro,
    preproc_function_def: macro,
    preproc_if: "holds",
    preproc_ifdef: "holds",
    preproc_elif: "holds",
    preproc_elifdef: "holds",
    preproc_else: "holds",
    linkage_specification: "holds",
    declaration_list: "holds",
    enumerator: { keep: "value" },
    using_declaration: { keep: "whole" },
    alias_declaration: { keep: "type", kind: "type" },
    namespace_alias_definition: { keep: "whole" },
    namespace_definition: { keep: "head", kind: "namespace", members: "module" },
    template_declaration: "wraps",
    concept_definition: { keep: "type", kind: "concept" },
    class_specifier: type,
    struct_specifier: type,
    union_specifier: type,
    enum_specifier: type,
    type_definition: typeDefinition,
    access_specifier: { keep: "line" },
    function_definition: functionDefinition,
    declaration,
    field_declaration: declaration,
  },
};
