/** What the tier of kept prefixes takes and gives: plain-data types, as in ../api.ts. */

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
  /** All or nothing: until it is there whole, there is no entry. Throws `storage-failed`. */
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
