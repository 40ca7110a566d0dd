import { childrenOfType, present } from "../nodes.ts";
import type { Language, Visit } from "../rules.ts";

const command: Visit = (node, walk, place) => {
  const name = node.childForFieldName("name");
  const word = name ? walk.textOf(name) : "";
  if (word === "source" || word === ".") walk.declare(node, { keep: "whole", names: [] }, place);
  else if (word === "alias") walk.declare(node, { keep: "line", names: [] }, place);
};

/** `export`, `readonly`, `declare` and `local` with a value. */
const declaration: Visit = (node, walk, place) => {
  const assignments = childrenOfType(node, "variable_assignment");
  const names = assignments.flatMap((it) => present(it.childForFieldName("name"))).map((name) => walk.textOf(name));
  const kind = node.child(0)?.type === "readonly" ? "constant" : "variable";
  if (names.length > 0) walk.declare(node, { keep: "value", kind, names }, place);
};

export const bash: Language = {
  grammar: "bash",
  rules: {
    comment: "comment",
    function_definition: { keep: "head", kind: "function" },
    variable_assignment: { keep: "value", kind: "variable" },
    declaration_command: declaration,
    command,
  },
};
