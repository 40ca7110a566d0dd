import { childrenOfType } from "../nodes.ts";
import type { Language, Visit } from "../rules.ts";

/** Variables of a module and of a class, by plain names; `a.b = 1` and `a[0] = 1` declare nothing. */
const statement: Visit = (node, walk, place) => {
  const assignment = node.namedChild(0);
  if (assignment?.type !== "assignment" && assignment?.type !== "augmented_assignment") return;
  const left = assignment.childForFieldName("left");
  const kind = place.inType ? "field" : "constant";
  if (left?.type === "identifier" && walk.textOf(left) === "__all__") {
    walk.declare(node, { keep: "whole", kind, names: ["__all__"], defines: false }, place);
  } else if (assignment.type === "assignment" && left?.type === "identifier") {
    walk.declare(node, { keep: "value", kind, names: [walk.textOf(left)] }, place);
  } else if (left?.type === "pattern_list") {
    const names = childrenOfType(left, "identifier").map((name) => walk.textOf(name));
    walk.declare(node, { keep: "value", kind, names }, place);
  }
};

/** What a module defines under a condition, but not what it does when it is run. */
const condition: Visit = (node, walk, place) => {
  const test = node.childForFieldName("condition");
  if (test && walk.textOf(test).includes("__name__")) return;
  walk.children(node, walk.inside(place));
};

export const python: Language = {
  grammar: "python",
  docstrings: true,
  rules: {
    comment: "comment",
    import_statement: { keep: "whole" },
    import_from_statement: { keep: "whole" },
    future_import_statement: { keep: "whole" },
    decorated_definition: "wraps",
    function_definition: { keep: "head", kind: ["function", "method"], docstring: true },
    class_definition: { keep: "head", kind: "class", members: "type", docstring: true },
    type_alias_statement: { keep: "type", kind: "type", names: "left" },
    expression_statement: statement,
    if_statement: condition,
    elif_clause: "holds",
    else_clause: "holds",
    try_statement: "holds",
    except_clause: "holds",
    finally_clause: "holds",
    with_statement: "holds",
    block: "holds",
  },
};
