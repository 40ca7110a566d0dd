import { MAX_SETS } from "./alphabet.ts";

/** One step of a pattern, by its place in `Pattern.steps`; of several ways the earlier one is preferred. */
export type PatternStep =
  | { readonly kind: "char"; readonly set: number; readonly next: number }
  | { readonly kind: "split"; readonly ways: readonly number[] }
  /** Asks for a character of a set ahead or behind without taking it; `wanted` false: there must be none. */
  | { readonly kind: "look"; readonly set: number; readonly ahead: boolean; readonly wanted: boolean; readonly next: number }
  | { readonly kind: "match" };

/** A pattern as a nondeterministic automaton over sets of characters. */
export interface Pattern {
  readonly steps: readonly PatternStep[];
  readonly start: number;
  /** What characters are told apart by, each as the source of a regular expression for one character. */
  readonly sets: readonly string[];
}

/**
 * Reads the source of a regular expression that has the flag `u`. Undefined where it asks for more than the automaton can
 * do: lazy quantifiers, back references, looking further than one character, or repetitions that make it huge.
 */
export function readPatternSource(source: string): Pattern | undefined {
  const reader = new PatternReader(source);
  const tree = reader.alternatives();
  if (!tree || !reader.atEnd) return undefined;
  const assembler = new Assembler();
  const start = assembler.assemble(tree, assembler.add({ kind: "match" }));
  const { steps, sets } = assembler;
  return steps.length > MAX_STEPS || sets.length > MAX_SETS ? undefined : { steps, start, sets };
}

const MAX_STEPS = 2000;

type Tree =
  | { readonly kind: "set"; readonly source: string }
  | { readonly kind: "sequence" | "alternatives"; readonly parts: readonly Tree[] }
  | { readonly kind: "repeat"; readonly part: Tree; readonly least: number; readonly most: number }
  | { readonly kind: "look"; readonly source: string; readonly ahead: boolean; readonly wanted: boolean };

/** Recursive descent; everything returns undefined at what is not supported. */
class PatternReader {
  private at = 0;

  constructor(private readonly source: string) {}

  get atEnd(): boolean {
    return this.at === this.source.length;
  }

  alternatives(): Tree | undefined {
    const parts: Tree[] = [];
    do {
      const part = this.sequence();
      if (!part) return undefined;
      parts.push(part);
    } while (this.take(/\|/y) !== undefined);
    return parts.length === 1 ? parts[0] : { kind: "alternatives", parts };
  }

  private sequence(): Tree | undefined {
    const parts: Tree[] = [];
    while (!this.atEnd && !/[|)]/.test(this.source.charAt(this.at))) {
      const atom = this.atom();
      const part = atom && this.repeated(atom);
      if (!part) return undefined;
      parts.push(part);
    }
    return { kind: "sequence", parts };
  }

  private atom(): Tree | undefined {
    const look = this.take(/\(\?<?[=!]/y);
    if (look !== undefined) return this.look(look);
    if (this.take(/\((?:\?:|\?<[A-Za-z]\w*>|(?!\?))/y) !== undefined) {
      const inner = this.alternatives();
      return inner && this.take(/\)/y) !== undefined ? inner : undefined;
    }
    const set = this.take(/\[(?:\\.|[^\]\\])*\]|\\[pP]\{[^}]*\}|\\u\{[^}]*\}|\\[^1-9bBkcxu]|[^\\()[\]{}*+?|^$.]/suy);
    return set === undefined ? undefined : { kind: "set", source: set };
  }

  private look(opening: string): Tree | undefined {
    const inner = this.alternatives();
    if (this.take(/\)/y) === undefined || inner?.kind !== "sequence" || inner.parts.length !== 1) return undefined;
    const [set] = inner.parts;
    const { source } = set.kind === "set" ? set : { source: undefined };
    return source === undefined
      ? undefined
      : { kind: "look", source, ahead: !opening.includes("<"), wanted: opening.endsWith("=") };
  }

  private repeated(part: Tree): Tree | undefined {
    const written = this.take(/[*+?]|\{\d+(?:,\d*)?\}/y);
    if (written === undefined) return part;
    if (part.kind === "look" || this.take(/\?/y) !== undefined) return undefined;
    const [least, most] = countsOf(written);
    return least > MAX_STEPS || (most !== Infinity && most > MAX_STEPS) ? undefined : { kind: "repeat", part, least, most };
  }

  /** What a sticky pattern matches here, or undefined. */
  private take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.source)?.[0];
    this.at += found?.length ?? 0;
    return found;
  }
}

function countsOf(quantifier: string): [least: number, most: number] {
  if (quantifier === "*") return [0, Infinity];
  if (quantifier === "+") return [1, Infinity];
  if (quantifier === "?") return [0, 1];
  const [least, most] = quantifier.slice(1, -1).split(",");
  return [Number(least), most === undefined ? Number(least) : most === "" ? Infinity : Number(most)];
}

/** Lays a tree out as steps from its end to its start, because a step says what comes next. */
class Assembler {
  readonly steps: PatternStep[] = [];
  readonly sets: string[] = [];

  /** Returns the step that a part begins with; `next` follows it. */
  assemble(tree: Tree, next: number): number {
    if (this.steps.length > MAX_STEPS) return next;
    switch (tree.kind) {
      case "set":
        return this.add({ kind: "char", set: this.set(tree.source), next });
      case "look":
        return this.add({ kind: "look", set: this.set(tree.source), ahead: tree.ahead, wanted: tree.wanted, next });
      case "sequence":
        return tree.parts.reduceRight((after, part) => this.assemble(part, after), next);
      case "alternatives":
        return this.add({ kind: "split", ways: tree.parts.map((part) => this.assemble(part, next)) });
      case "repeat":
        return this.repeat(tree.part, tree.least, tree.most, next);
    }
  }

  add(step: PatternStep): number {
    return this.steps.push(step) - 1;
  }

  private repeat(part: Tree, least: number, most: number, next: number): number {
    let entry = next;
    if (most === Infinity) {
      const ways: number[] = [];
      entry = this.add({ kind: "split", ways });
      ways.push(this.assemble(part, entry), next);
    } else {
      for (let i = least; i < most; i++) entry = this.add({ kind: "split", ways: [this.assemble(part, entry), next] });
    }
    for (let i = 0; i < least; i++) entry = this.assemble(part, entry);
    return entry;
  }

  private set(source: string): number {
    const known = this.sets.indexOf(source);
    return known >= 0 ? known : this.sets.push(source) - 1;
  }
}
