import { plainError } from "../../engine/errors.ts";
import { type IndexEntry, readIndex, writeIndex } from "./persistentIndex.ts";
import type { ServerOptions } from "./requests.ts";
import { indexFile, indexIdentity } from "./storedState.ts";

/** Where a table's counts are kept, and what they were made with. */
export interface IndexPlace {
  /** "" where nothing is kept. */
  file: string;
  /** "" where the tokenizer cannot be found. */
  identity: string;
}

/** The index is written when nothing changed for a while, and now and then during a long count. */
const saveAfterMs = 2000;
const saveEveryMs = 15_000;

/** Reads and writes the index of one workspace; a failure to write is told in the log, once, and costs only time. */
export class IndexKeeper {
  private place: IndexPlace = { file: "", identity: "" };
  private timer: NodeJS.Timeout | undefined;
  private lastSavedMs = Date.now();
  private saving: Promise<void> = Promise.resolve();
  private failed = false;

  /** `entries` is what is known now, counted with what `moveTo` was last given. */
  constructor(
    private readonly entries: () => Iterable<IndexEntry>,
    private readonly log: (message: string) => void,
  ) {}

  /** What is known of files by absolute path: by the table where it was counted alike, else by the index on disk. */
  async known(settings: ServerOptions): Promise<{ place: IndexPlace; entries: Map<string, IndexEntry> }> {
    const place = { file: indexFile(settings), identity: await indexIdentity(settings) };
    if (place.identity === "") return { place, entries: new Map() };
    if (place.identity === this.place.identity) {
      return { place, entries: new Map([...this.entries()].map((entry) => [entry.absolute, entry])) };
    }
    if (place.file === "") return { place, entries: new Map() };
    return { place, entries: await readIndex(place.file, place.identity, this.log) };
  }

  /** From here on `entries` is counted with this. */
  moveTo(place: IndexPlace): void {
    this.place = place;
    this.lastSavedMs = Date.now();
  }

  saveSoon(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.save(), saveAfterMs);
  }

  /** During a long count: so that a server that is killed goes on where it was. */
  saveNowAndThen(): void {
    if (Date.now() - this.lastSavedMs > saveEveryMs) void this.save();
  }

  /** Settles once everything known now is on disk. */
  save(): Promise<void> {
    clearTimeout(this.timer);
    this.lastSavedMs = Date.now();
    const { file, identity } = this.place;
    if (file === "" || identity === "") return this.saving;
    const entries = [...this.entries()];
    if (entries.length === 0) return this.saving;
    this.saving = this.saving
      .then(() => writeIndex(file, identity, entries))
      .catch((error: unknown) => {
        if (!this.failed) this.log(`the index of token counts cannot be written: ${plainError(error).message}`);
        this.failed = true;
      });
    return this.saving;
  }
}
