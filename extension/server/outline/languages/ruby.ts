import type { Node } from "web-tree-sitter";
import { childOfType } from "../nodes.ts";
import type { Language, Place, Visit } from "../rules.ts";
import type { Walk } from "../walk.ts";

const IMPORTS = /^(?:require|require_relative|load|autoload)$/;
const VISIBILITY = /^(?:private|protected|public|module_function|private_class_method)$/;
const TESTS = /^(?:RSpec\.)?(?:[fx]?describe|[fx]?context|shared_examples(?:_for)?|[fx]?it|[fx]?specify|test|scenario|feature)$/;
const TASKS = /^(?:task|multitask|namespace)$/;
/** What holds tests or tasks. */
const SUITES = /^(?:RSpec\.)?(?:[fx]?describe|[fx]?context|shared_examples(?:_for)?|feature|namespace)$/;
/** Suites and what is directly in them are shown, deeper tests are not. */
const TEST_LEVELS = 2;

/** `end` stands where an empty body would. */
const bodyOrEnd = (node: Node): Node | null => node.childForFieldName("body") ?? node.lastChild;

/** Imports, tests, tasks, and the declarations of a class that are calls: `attr_reader`, `has_many`, `private def …`. */
const call: Visit = (node, walk, place) => {
  const name = calledName(node, walk);
  const [subject] = node.childForFieldName("arguments")?.namedChildren ?? [];
  const block = node.childForFieldName("block");
  if (IMPORTS.test(name)) walk.declare(node, { keep: "whole", names: [] }, place);
  else if (subject?.type === "method" || subject?.type === "singleton_method") walk.enter(subject, walk.wrapped(node, place));
  else if (place.inType) walk.declare(node, { keep: block ? "head" : "type", names: [], body: block }, place);
  else if (block?.type === "do_block") registered(node, 1, walk, place);
};

/** A block under a name: a test, `task :build do`; of a suite also what is directly in it. */
function registered(node: Node, level: number, walk: Walk, place: Place): void {
  const name = calledName(node, walk);
  const block = node.childForFieldName("block");
  const [subject] = node.childForFieldName("arguments")?.namedChildren ?? [];
  if (!subject || !block) return;
  const names = [walk.textOf(subject)];
  const kind = TESTS.test(name) ? "test" : TASKS.test(name) ? "task" : "handler";
  const symbol = walk.declare(node, { keep: "head", kind, names, body: afterParameters(block), defines: false }, place);
  if (!symbol || !SUITES.test(name) || level >= TEST_LEVELS) return;
  const within = { ...walk.inside(place), symbols: symbol.children };
  for (const inside of block.childForFieldName("body")?.namedChildren ?? [])
    if (inside.type === "call" && isListed(calledName(inside, walk))) registered(inside, level + 1, walk, within);
}

function isListed(name: string): boolean {
  return TESTS.test(name) || TASKS.test(name);
}

/** `do |parameters|` belongs to the head. */
function afterParameters(block: Node): Node | null {
  return block.childForFieldName("body") ?? block.lastChild;
}

function calledName(node: Node, walk: Walk): string {
  const [receiver, method] = ["receiver", "method"].map((field) => node.childForFieldName(field));
  return [receiver, method].flatMap((it) => (it ? [walk.textOf(it)] : [])).join(".");
}

/** Constants; of `Struct.new(…) do` also the methods. */
const assignment: Visit = (node, walk, place) => {
  const left = node.childForFieldName("left");
  if (left?.type !== "constant" && left?.type !== "scope_resolution") return;
  const right = node.childForFieldName("right");
  const block = right?.type === "call" ? right.childForFieldName("block") : null;
  const body = block && childOfType(block, "body_statement");
  const names = [walk.textOf(left)];
  walk.declare(node, { keep: body ? "head" : "value", kind: "constant", names, body, members: "type" }, place);
};

const word: Visit = (node, walk, place) => {
  if (place.inType && VISIBILITY.test(walk.textOf(node))) walk.declare(node, { keep: "line", names: [] }, place);
};

export const ruby: Language = {
  grammar: "ruby",
  rules: {
    comment: "comment",
    module: { keep: "head", kind: "module", members: "type", body: bodyOrEnd },
    class: { keep: "head", kind: "class", members: "type", body: bodyOrEnd },
    singleton_class: { keep: "head", members: "type", body: bodyOrEnd },
    method: { keep: "head", kind: ["function", "method"], body: bodyOrEnd },
    singleton_method: { keep: "head", kind: ["function", "method"], body: bodyOrEnd },
    alias: { keep: "line" },
    call,
    assignment,
    identifier: word,
    if: "holds",
    unless: "holds",
    then: "holds",
    else: "holds",
    begin: "holds",
  },
};
