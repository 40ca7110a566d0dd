import type { Node } from "web-tree-sitter";
import type { Rows } from "./rules.ts";

/** Lines of a node; one that ends with a line break ends on the line before it. */
export function rowsOf(node: Node): Rows {
  const first = node.startPosition.row;
  const { row, column } = node.endPosition;
  return { first, last: column === 0 && row > first ? row - 1 : row };
}

export function present(node: Node | null | undefined): Node[] {
  return node ? [node] : [];
}

/** The first named child of one of these types. */
export function childOfType(node: Node | null | undefined, ...types: readonly string[]): Node | undefined {
  return node?.namedChildren.find(({ type }) => types.includes(type));
}

export function childrenOfType(node: Node | null | undefined, ...types: readonly string[]): Node[] {
  return node?.namedChildren.filter(({ type }) => types.includes(type)) ?? [];
}
