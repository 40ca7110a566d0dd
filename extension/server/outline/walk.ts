import type { Node } from "web-tree-sitter";
import type { LineRange } from "../../../engine/pack/levels.ts";
import { firstSentence, isLicense } from "./docs.ts";
import { present, rowsOf } from "./nodes.ts";
import type { Entry, Keep, Leading, Members, OutlinedSymbol, Place, Rows, Rule } from "./rules.ts";

/** Lines beyond these are cut off: long enough for what people write, short enough that an outline stays one. */
const MOST_HEAD_LINES = 30;
const MOST_WHOLE_LINES = 12;
const LONG_TYPE_LINES = 6;
const MOST_VALUE_LINES = 3;
const MOST_DECORATOR_LINES = 8;
/** Longer lines are in no outline: they hold data, or a whole program. */
export const LONGEST_LINE = 500;
/** Declarations in declarations; deeper ones are left out, so that no file can exhaust the stack. */
const MOST_DEPTH = 40;
/** Names of an object or a list that is exported. */
const MOST_ENTRIES = 100;

/** What the nodes of a grammar mean, by the number of their type; undefined where they are left out. */
export type Entries = readonly (Entry | undefined)[];

/** One declaration as a rule or a visit found it. */
export interface Declaration {
  keep: Keep;
  /** Absent: it defines nothing. */
  kind?: string;
  names: readonly string[];
  /** Row of the first name; where absent, that of the node's name, or the node's first one. */
  nameRow?: number;
  /** Where a head ends. */
  body?: Node | null;
  members?: Members;
  docstring?: boolean;
  /** False where the name was given elsewhere, or is no name of the language (an `impl`, a test). */
  defines?: boolean;
  /** A file is worth an outline for it; where absent, whatever has a kind is. */
  counts?: boolean;
}

/** Names are cut here: what is longer is an expression, and shown as one. */
const MOST_NAME = 80;
const NODES_PER_CHECK = 64;
/** What the parser calls a node that it could make no sense of. */
const ERROR_TYPE = 0xffff;

/**
 * Goes through the declarations of one file, outside in, never into a body that is not outlined, and marks the lines to keep.
 * `text` has "\n" as its only line end; `check` is called every few hundred microseconds and ends the walk by throwing.
 */
export class Walk {
  readonly text: string;
  readonly lines: readonly string[];
  readonly symbols: OutlinedSymbol[] = [];
  readonly definitions = new Set<string>();
  private anything = false;
  private readonly entries: Entries;
  private readonly check: () => void;
  private readonly kept: Uint8Array;
  /** Nodes so far. */
  private passed = 0;
  /** Only comments so far. */
  private atHead = true;

  constructor(text: string, entries: Entries, check: () => void) {
    this.text = text;
    this.lines = text.split("\n");
    this.entries = entries;
    this.check = check;
    this.kept = new Uint8Array(this.lines.length);
  }

  file(root: Node, docstrings: boolean): void {
    if (docstrings) this.keepDocstring(root);
    this.children(root, { inType: false, depth: 0, symbols: this.symbols, outer: undefined, leading: undefined });
  }

  /** Whether anything but imports was kept. */
  get declares(): boolean {
    return this.anything;
  }

  /** What was kept, without blank and giant lines. */
  ranges(): LineRange[] {
    const ranges: LineRange[] = [];
    this.lines.forEach((line, row) => {
      if (this.kept[row] === 0 || line.length > LONGEST_LINE || line.trim() === "") return;
      const open = ranges[ranges.length - 1];
      if (open?.last === row) open.last = row + 1;
      else ranges.push({ first: row + 1, last: row + 1 });
    });
    return ranges;
  }

  /** Everything that stands in a node, each by the entry of its type. */
  children(parent: Node, { inType, depth, symbols, outer, leading: inherited }: Place): void {
    if (depth > MOST_DEPTH) return;
    let leading: Leading | undefined;
    for (const node of parent.namedChildren) {
      if (this.passed++ % NODES_PER_CHECK === 0) this.check();
      const entry = this.entryOf(node);
      if (entry === "comment" || entry === "attribute") {
        leading = this.lead(node, entry, leading);
      } else {
        if (entry === undefined) this.forget(leading);
        else this.enter(node, { inType, depth, symbols, outer, leading: leading ?? inherited }, entry);
        leading = undefined;
      }
    }
    this.forget(leading);
  }

  /** One node, by the entry of its type. */
  enter(node: Node, place: Place, entry = this.entryOf(node)): void {
    switch (entry) {
      case undefined:
      case "comment":
      case "attribute":
        return;
      case "wraps":
        this.children(node, this.wrapped(node, place));
        return;
      case "holds":
        this.forget(place.leading);
        this.children(node, this.inside(place));
        return;
      default:
        this.forget(place.leading);
        this.atHead = false;
        if (typeof entry === "function") entry(node, this, place);
        else this.declare(node, this.apply(entry, node, place), place);
    }
  }

  /** The place inside of something that declares nothing itself. */
  inside({ inType, depth, symbols }: Place): Place {
    return { inType, depth: depth + 1, symbols, outer: undefined, leading: undefined };
  }

  /** The place inside of a wrapper, whose lines belong to what it wraps. */
  wrapped(node: Node, { inType, depth, symbols, outer, leading }: Place): Place {
    return { inType, depth: depth + 1, symbols, outer: outer ?? rowsOf(node), leading };
  }

  /** Keeps the lines of a declaration and what documents it, makes a symbol of it, and goes on with its members. */
  declare(node: Node, declaration: Declaration, place: Place): OutlinedSymbol | undefined {
    const { body, members, docstring } = declaration;
    const own = rowsOf(node);
    const { first, last } = place.outer ?? own;
    this.keepRows(first, Math.min(own.first - 1, first + MOST_DECORATOR_LINES - 1));
    this.keepDeclaration(own, declaration);
    this.anything ||= declaration.counts ?? declaration.kind !== undefined;
    const symbol = this.symbolOf(declaration, { first: this.keepLeading(place, first), last }, nameRowOf(node));
    if (symbol) place.symbols.push(symbol);
    if (body && docstring === true) this.keepDocstring(body);
    if (body && members) {
      const symbols = symbol?.children ?? place.symbols;
      this.children(body, { ...this.inside(place), inType: members === "type", symbols });
    }
    return symbol;
  }

  /** The text of a node in one line. */
  textOf(node: Node): string {
    const text = this.text.slice(node.startIndex, node.endIndex);
    return text.length > MOST_NAME ? `${text.slice(0, MOST_NAME).replace(/\s+/g, " ")}…` : text.replace(/\s+/g, " ");
  }

  /** The first lines of nodes, as many as make a list that a person reads. */
  keepFirstLines(nodes: readonly Node[]): void {
    for (const node of nodes.slice(0, MOST_ENTRIES)) this.keepRows(node.startPosition.row, node.startPosition.row);
  }

  /** A declaration as its rule describes it. */
  private apply({ keep, kind, names, body, members, docstring, defines }: Rule, node: Node, { inType }: Place): Declaration {
    const named = typeof names === "function" ? names(node) : present(node.childForFieldName(names ?? "name"));
    return {
      keep,
      kind: typeof kind === "object" ? kind[inType ? 1 : 0] : kind,
      names: named.map((name) => this.textOf(name)),
      nameRow: named[0]?.startPosition.row,
      body: typeof body === "function" ? body(node) : node.childForFieldName(body ?? "body"),
      members,
      docstring,
      defines,
    };
  }

  private symbolOf(declaration: Declaration, { first, last }: Rows, row: number): OutlinedSymbol | undefined {
    const { kind, names, defines, nameRow = row } = declaration;
    if (kind === undefined) return undefined;
    const plain = names.map(unquoted);
    if (defines !== false) for (const name of plain) this.define(name);
    if (names.length === 0) return undefined;
    return { name: plain.join(", "), kind, nameLine: nameRow + 1, startLine: first + 1, endLine: last + 1, children: [] };
  }

  private define(name: string): void {
    const last = LAST_NAME.exec(name)?.[1];
    if (last !== undefined && last !== "_") this.definitions.add(last);
  }

  private keepDeclaration({ first, last }: Rows, { keep, body }: Declaration): void {
    if (keep === "head") this.keepRows(first, Math.min(body ? this.rowBefore(body) : last, first + MOST_HEAD_LINES - 1));
    else this.keepRows(first, Math.min(last, first + shownLines(keep, last - first + 1) - 1));
    if (keep === "whole") this.keepRows(last, last);
  }

  /** Keeps what stands directly above line `first`; returns the first line of it, or `first`. */
  private keepLeading({ leading }: Place, first: number): number {
    if (!leading || leading.last + 1 < first || leading.first > first) return first;
    if (!leading.atHead) this.keepSentence(leading);
    for (const { first: from, last } of leading.attributes) this.keepRows(from, Math.min(last, from + MOST_DECORATOR_LINES - 1));
    return leading.first;
  }

  private keepSentence({ docs }: Leading): void {
    const sentence = docs && firstSentence(this.lines, docs);
    if (sentence) this.keepRows(sentence.first, sentence.last);
  }

  private keepDocstring(body: Node): void {
    const statement = firstStatement(body);
    const string = statement?.type === "expression_statement" ? statement.namedChild(0) : null;
    if (string?.type !== "string") return;
    const rows = rowsOf(string);
    const sentence = isLicense(this.lines, rows) ? undefined : firstSentence(this.lines, rows);
    if (sentence) this.keepRows(sentence.first, sentence.last);
  }

  private keepRows(first: number, last: number): void {
    if (last >= first) this.kept.fill(1, first, last + 1);
  }

  /** The line on which ends what stands before a node, whether the node begins on that line or below it. */
  private rowBefore(node: Node): number {
    let { row } = node.startPosition;
    for (let at = node.startIndex - 1; at >= 0; at--) {
      const character = this.text[at];
      if (character === "\n") row--;
      else if (character !== " " && character !== "\t") break;
    }
    return Math.max(0, row);
  }

  private entryOf({ typeId }: Node): Entry | undefined {
    return typeId === ERROR_TYPE ? "holds" : this.entries[typeId];
  }

  /** Adds a comment or an attribute to those directly above it, or begins anew. */
  private lead(node: Node, entry: "comment" | "attribute", before: Leading | undefined): Leading | undefined {
    const rows = rowsOf(node);
    // Behind code on the same line it belongs to that, not to what comes.
    if (entry === "comment" && this.lines[rows.first].slice(0, node.startPosition.column).trim() !== "") return before;
    const above = before && before.last + 1 >= rows.first ? before : undefined;
    if (!above) this.forget(before);
    const attributes = above?.attributes ?? [];
    if (entry === "attribute") attributes.push(rows);
    return {
      first: above?.first ?? rows.first,
      last: rows.last,
      docs: entry === "attribute" ? above?.docs : { first: above?.docs?.first ?? rows.first, last: rows.last },
      attributes,
      atHead: above?.atHead ?? this.atHead,
    };
  }

  /** Comments at the head of a file speak of the file, so they need nothing below them. */
  private forget(leading: Leading | undefined): void {
    if (leading?.atHead === true && leading.docs && !isLicense(this.lines, leading.docs)) this.keepSentence(leading);
  }
}

/** The word that others use: of `Quay::berth`, `#berth` and `berth?` that is `berth`; of `"two words"` there is none. */
const LAST_NAME = /(?:^|::|[.#~])([\p{L}_$][\p{L}\p{N}_$]*)[?!=]?$/u;

/** A name that is written as a string. */
function unquoted(name: string): string {
  return QUOTES.has(name[0]) && name.endsWith(name[0]) ? name.slice(1, -1) : name;
}

const QUOTES = new Set(['"', "'", "`"]);

/** How many of a declaration's lines are kept, from its first one on. */
function shownLines(keep: Exclude<Keep, "head">, lines: number): number {
  switch (keep) {
    case "whole":
      return lines <= MOST_WHOLE_LINES ? lines : 1;
    case "type":
      return lines <= MOST_WHOLE_LINES ? lines : LONG_TYPE_LINES;
    case "value":
      return lines <= MOST_VALUE_LINES ? lines : 1;
    case "line":
      return 1;
  }
}

function nameRowOf(node: Node): number {
  return (node.childForFieldName("name") ?? node.childForFieldName("property") ?? node).startPosition.row;
}

function firstStatement(body: Node): Node | null {
  let statement = body.firstNamedChild;
  while (statement?.type === "comment") statement = statement.nextNamedSibling;
  return statement;
}
