import { type Dirent, lstatSync, opendirSync, readdirSync, type Stats } from "node:fs";
import { join } from "node:path";
import { sortInSlices } from "./slicedSort.ts";

/** What is in a folder. */
export interface Listing {
  /** Names in the order of their paths, a folder's with "/" at its end. */
  names: string[];
  /** What those are that are neither file nor folder. */
  others: Map<string, string>;
  /** Names on disk that are no UTF-8, one character per byte, by the name that is shown: bad bytes as "\xNN". */
  unreadable: Map<string, string>;
}

export const symbolicLink = "symbolic link";

/** A folder whose own entry is larger holds thousands of names, and is read in slices; Windows does not tell. */
const largeFolderBytes = 128 * 1024;
const entriesPerSlice = 256;

/** Lists a folder; undefined where it is none, or a link to one. `pause` is called often where that takes long. Throws what the system says. */
export async function listFolder(absolute: string, pause: () => Promise<void>): Promise<Listing | undefined> {
  const listing: Listing = { names: [], others: new Map(), unreadable: new Map() };
  const stats = lstatSync(absolute);
  if (!stats.isDirectory()) return undefined;
  if (process.platform === "win32" || stats.size > largeFolderBytes) {
    await readInSlices(absolute, listing, pause);
    listing.names = await sortInSlices(listing.names, pause);
  } else {
    for (const entry of readdirSync(absolute, { withFileTypes: true })) addEntry(listing, entry, entry.name);
    listing.names.sort();
  }
  return listing.names.some((name) => name.includes("\uFFFD")) ? byBytes(absolute) : listing;
}

/** The listing of a folder as if it held only that name; empty where it does not. */
export function listOne(absolute: string, name: string): Listing {
  const listing: Listing = { names: [], others: new Map(), unreadable: new Map() };
  const stats = lstatSync(join(absolute, name), { throwIfNoEntry: false });
  if (stats) addEntry(listing, stats, name);
  return listing;
}

async function readInSlices(absolute: string, listing: Listing, pause: () => Promise<void>): Promise<void> {
  const folder = opendirSync(absolute, { bufferSize: entriesPerSlice });
  try {
    for (let entry = folder.readSync(); entry; entry = folder.readSync()) {
      addEntry(listing, entry, entry.name);
      if (listing.names.length % entriesPerSlice === 0) await pause();
    }
  } finally {
    folder.closeSync();
  }
}

/** The listing of a folder in which a name may be no UTF-8: only its bytes tell it from others. */
function byBytes(absolute: string): Listing {
  const listing: Listing = { names: [], others: new Map(), unreadable: new Map() };
  for (const entry of readdirSync(absolute, { withFileTypes: true, encoding: "buffer" })) {
    const name = shownName(entry.name);
    const text = entry.name.toString("utf8");
    if (name !== text) listing.unreadable.set(name, entry.name.toString("latin1"));
    addEntry(listing, entry, name);
  }
  listing.names.sort();
  return listing;
}

function addEntry({ names, others }: Listing, entry: Dirent | Dirent<Buffer> | Stats, name: string): void {
  if (entry.isDirectory()) {
    names.push(`${name}/`);
    return;
  }
  names.push(name);
  if (entry.isFile()) return;
  others.set(
    name,
    entry.isSymbolicLink() ? symbolicLink : entry.isFIFO() ? "named pipe" : entry.isSocket() ? "socket" : "device",
  );
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A name as text; bytes that are no UTF-8 as "\xNN". */
function shownName(bytes: Uint8Array): string {
  const whole = decoded(bytes);
  if (whole !== undefined) return whole;
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const lead = bytes[at] ?? 0;
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const character = decoded(bytes.subarray(at, at + length));
    text += character ?? `\\x${lead.toString(16)}`;
    at += character === undefined ? 1 : length;
  }
  return text;
}

function decoded(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}
