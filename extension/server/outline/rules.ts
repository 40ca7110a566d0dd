import type { Node } from "web-tree-sitter";
import type { Walk } from "./walk.ts";

/**
 * How much of a declaration is kept, in whole lines:
 * - `head`: up to where its body begins;
 * - `whole`: all of it, or the first and last line where it is long (an import of many names);
 * - `type`: all of it, or its first lines where it is long;
 * - `value`: all of it, or its first line where it is longer than three;
 * - `line`: its first line.
 */
export type Keep = "head" | "whole" | "type" | "value" | "line";

/** A field of a node, or a way to find another node from it. */
export type Find = string | ((node: Node) => Node | null | undefined);

/** What a declaration's body holds, which decides between "function" and "method", "constant" and "field". */
export type Members = "module" | "type";

/** How the nodes of one type go into an outline. */
export interface Rule {
  readonly keep: Keep;
  /** What a person calls it, or two words, the second inside of a type; absent where it defines nothing (an import). */
  readonly kind?: string | readonly [outside: string, inside: string];
  /** Its names, one node each; the field `name` where absent. */
  readonly names?: string | ((node: Node) => readonly Node[]);
  /** Where a head ends; the field `body` where absent. */
  readonly body?: Find;
  /** Set where what stands in its body is outlined too. */
  readonly members?: Members;
  /** The first string of its body is its documentation. */
  readonly docstring?: boolean;
  /** False where its name is none that other files use. */
  readonly defines?: false;
}

/** What a rule cannot say: looks at the node and declares what is in it. */
export type Visit = (node: Node, walk: Walk, place: Place) => void;

/**
 * What happens with nodes of a type:
 * - a rule or a visit;
 * - `comment`: documents the declaration below it;
 * - `attribute`: belongs to the declaration below it and is kept with it;
 * - `holds`: counts as if its children stood in its place (`#ifdef`, a broken part of a file);
 * - `wraps`: likewise, but its lines belong to the declaration in it (`template <…>`, a decorated definition).
 * Nodes of all other types are left out with everything in them.
 */
export type Entry = Rule | Visit | "comment" | "attribute" | "holds" | "wraps";

export type Rules = Readonly<Record<string, Entry>>;

/** A grammar file and what its node types mean. */
export interface Language {
  /** As in the file name: tree-sitter-NAME.wasm. */
  readonly grammar: string;
  readonly rules: Rules;
  /** A string at the head of a file documents the file. */
  readonly docstrings?: boolean;
}

/** Lines counted from 0, both ends included. */
export interface Rows {
  readonly first: number;
  readonly last: number;
}

/** Comments and attributes directly above something. */
export interface Leading extends Rows {
  readonly docs: Rows | undefined;
  readonly attributes: Rows[];
  /** Nothing but comments stands above it: it may be a licence. */
  readonly atHead: boolean;
}

/** Where in the file the walk is. */
export interface Place {
  readonly inType: boolean;
  readonly depth: number;
  /** Where symbols go that are declared here. */
  readonly symbols: OutlinedSymbol[];
  /** Lines of what is wrapped around the node: an export, a decorator, `template <…>`. */
  readonly outer: Rows | undefined;
  readonly leading: Leading | undefined;
}

/** Something that a file defines, with all of its lines: documentation and decorators included. */
export interface OutlinedSymbol {
  name: string;
  /** A word that a person reads: function, class, method, interface, constant, … */
  kind: string;
  /** Where its name stands, below its documentation and decorators. Lines are 1-based. */
  nameLine: number;
  /** Inclusive. */
  startLine: number;
  endLine: number;
  children: OutlinedSymbol[];
}
