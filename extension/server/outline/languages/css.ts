import type { Node } from "web-tree-sitter";
import { childOfType } from "../nodes.ts";
import type { Language, Rule, Visit } from "../rules.ts";

const blockOf = (node: Node): Node | undefined => childOfType(node, "block", "keyframe_block_list");

/** The conditions of a rule, or the keyword of one that has none. */
const conditions = (node: Node): Node[] => {
  const named = node.namedChildren.filter(({ type }) => !/block|comment/.test(type));
  const [keyword, ...others] = named;
  return keyword?.type === "at_keyword" && others.length > 0 ? others : named;
};

const holder: Rule = { keep: "head", kind: "rule", names: conditions, body: blockOf, members: "type", defines: false };

/** Custom properties are what other files use; all others are the body of a rule. */
const declaration: Visit = (node, walk, place) => {
  const name = childOfType(node, "property_name");
  const text = name ? walk.textOf(name) : "";
  if (text.startsWith("--")) walk.declare(node, { keep: "value", kind: "property", names: [text], defines: false }, place);
};

export const css: Language = {
  grammar: "css",
  rules: {
    comment: "comment",
    import_statement: { keep: "whole" },
    rule_set: holder,
    media_statement: holder,
    supports_statement: holder,
    at_rule: holder,
    keyframes_statement: { keep: "head", kind: "keyframes", names: conditions, body: blockOf, defines: false },
    declaration,
  },
};
