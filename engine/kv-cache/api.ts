/** What the tier of kept prefixes takes and gives: plain-data types, as in ../api.ts, and the pages of a runner. */

/**
 * What a runner has computed, in pages of whole tokens. Pages fit into any runner of the same model, backend, weight format, positions,
 * attention, cache formats and `layout`; prefixKey.ts makes one key of all of them.
 */
export interface CachedPages {
  /** `keys`: keys and values of the page's tokens, useless without all pages before. `states`: the state behind its last token, which stands for all before it. */
  readonly kind: "keys" | "states";
  readonly tokensPerPage: number;
  readonly bytesPerPage: number;
  /** Names the arrangement of the numbers in a page; another one is another text. */
  readonly layout: string;
  /** Pages [first, first + count), which are whole in the cache, little-endian; undefined is a state that was not kept. */
  export(first: number, count: number): Promise<(Uint8Array<ArrayBuffer> | undefined)[]>;
  /**
   * Puts pages behind what is cached, which is `firstPage` pages and not a token more; of states only the last is put, wherever the cache
   * ends. `length` is then that of all these pages. Throws `kv-cache-too-large`, and `bad-argument` for pages of another size.
   */
  import(pages: readonly Uint8Array<ArrayBuffer>[], firstPage: number): Promise<void>;
}

/**
 * Names one page of a prefix. `root` says by what it was computed, `key` what it and all pages before it hold, both as 32 hexadecimal
 * digits; `page` counts from 0.
 */
export interface PrefixName {
  root: string;
  page: number;
  key: string;
}

export interface PrefixEntry extends PrefixName {
  /** Of the whole file, as prefixFile.ts lays it out. */
  bytes: number;
  /** When a prompt last began with it, in ms since 1970. */
  lastUsed: number;
}

export interface PrefixListing {
  entries: readonly PrefixEntry[];
  /** What all entries together may take; 0 turns the tier off. */
  maxBytes: number;
}

/**
 * Where pages are kept. Whole files go in and out; who reads them checks them, so a store need not. Several sessions may share one: an
 * entry can appear, change its time and vanish at any moment.
 */
export interface PrefixStore {
  list(): Promise<PrefixListing>;
  /** Undefined where there is none (any more). */
  read(name: PrefixName): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /**
   * All or nothing: until it is there whole, there is no entry. `bytes` fill their buffer, and the store may take it. Throws
   * `storage-failed`.
   */
  write(name: PrefixName, bytes: Uint8Array<ArrayBuffer>, lastUsed: number): Promise<void>;
  /** Sets the time of those that are there. */
  touch(names: readonly PrefixName[], lastUsed: number): Promise<void>;
  delete(names: readonly PrefixName[]): Promise<void>;
}

/** What a session's index has seen and done. */
export interface PrefixStatistics {
  entries: number;
  bytes: number;
  maxBytes: number;
  restoredPages: number;
  savedPages: number;
  evictedPages: number;
  /** Files that were not what their name says, and were deleted. */
  damagedPages: number;
  /** What the store refused last, in words. */
  trouble: string | undefined;
}
