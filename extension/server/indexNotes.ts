import type { HostileLine } from "./findings.ts";
import type { ExclusionKind, FileMark } from "./requests.ts";
import type { KnownScan } from "./textKnowledge.ts";

/** What of the absolute path is replaced by which prefix; one note per folder of the workspace. */
export interface PathNote {
  cut: number;
  prefix: string;
}

/** Values that many entries share, each once. */
export class NoteTable {
  readonly all: unknown[] = [];
  private readonly places = new Map<string, number>();

  place(note: unknown): number {
    const key = JSON.stringify(note);
    const known = this.places.get(key);
    if (known !== undefined) return known;
    this.places.set(key, this.all.length);
    return this.all.push(note) - 1;
  }
}

const exclusionKinds: Readonly<Record<ExclusionKind, true>> = {
  ignored: true,
  "git-data": true,
  "installed-packages": true,
  "not-included": true,
  "too-large": true,
  "too-many-files": true,
  binary: true,
  generated: true,
  minified: true,
  symlink: true,
  submodule: true,
  unreadable: true,
  secret: true,
  "other-root": true,
  git: true,
};

const markKinds: Readonly<Record<FileMark["kind"], true>> = {
  utf16: true,
  bom: true,
  "invalid-utf8": true,
  minified: true,
  generated: true,
  "long-line": true,
  unsaved: true,
  duplicate: true,
};

/** Notes as they were read, each looked at once. */
export class NoteReader {
  private readonly all: readonly unknown[];
  private readonly exclusions = new Map<number, { reason: string; kind: ExclusionKind }>();
  private readonly paths = new Map<number, PathNote>();
  private readonly markLists = new Map<number, FileMark[]>();
  private readonly scans = new Map<number, KnownScan>();

  constructor(json: string) {
    const all: unknown = JSON.parse(json);
    if (!Array.isArray(all)) throw new Error("it has no notes");
    this.all = all;
  }

  exclusion(place: number): { reason: string; kind: ExclusionKind } {
    return seen(this.exclusions, place, () => {
      const { reason, kind } = this.fields(this.all[place]);
      if (typeof reason !== "string" || !isKeyOf(exclusionKinds, kind)) throw new Error("a note is no reason");
      return { reason, kind };
    });
  }

  path(place: number): PathNote {
    return seen(this.paths, place, () => {
      const { cut, prefix } = this.fields(this.all[place]);
      if (typeof cut !== "number" || !(cut >= 0) || typeof prefix !== "string") throw new Error("a note is no path");
      return { cut, prefix };
    });
  }

  marks(place: number): FileMark[] {
    return seen(this.markLists, place, () => {
      const list = this.all[place];
      if (!Array.isArray(list)) throw new Error("a note is no list of marks");
      return list.map((mark: unknown) => {
        const { kind, message } = this.fields(mark);
        if (!isKeyOf(markKinds, kind) || typeof message !== "string") throw new Error("a note is no mark");
        return { kind, message };
      });
    });
  }

  text(place: number): string {
    const text = this.all[place];
    if (typeof text !== "string") throw new Error("a note is no text");
    return text;
  }

  scan(place: number): KnownScan {
    return seen(this.scans, place, () => {
      const { secrets, hostileLine } = this.fields(this.all[place]);
      if (!Array.isArray(secrets)) throw new Error("a note is no scan");
      const found = secrets.map((secret: unknown) => {
        const { line, rule, message } = this.fields(secret);
        if (typeof line !== "number" || typeof rule !== "string" || typeof message !== "string")
          throw new Error("a note is no secret");
        return { line, rule, message };
      });
      return hostileLine === undefined ? { secrets: found } : { secrets: found, hostileLine: this.hostileLine(hostileLine) };
    });
  }

  private hostileLine(note: unknown): HostileLine {
    const { line, characters, bytes, tokens } = this.fields(note);
    const numbers = [line, characters, bytes, tokens];
    if (!numbers.every((value) => typeof value === "number")) throw new Error("a note is no line");
    const [at = 0, length = 0, size = 0, count = 0] = numbers;
    return { line: at, characters: length, bytes: size, tokens: count };
  }

  private fields(note: unknown): Record<string, unknown> {
    if (typeof note !== "object" || note === null) throw new Error("a note is missing");
    return { ...note };
  }
}

function isKeyOf<Key extends string>(keys: Readonly<Record<Key, true>>, value: unknown): value is Key {
  return typeof value === "string" && Object.hasOwn(keys, value);
}

function seen<Value>(known: Map<number, Value>, place: number, look: () => Value): Value {
  const before = known.get(place);
  if (before !== undefined) return before;
  const value = look();
  known.set(place, value);
  return value;
}
