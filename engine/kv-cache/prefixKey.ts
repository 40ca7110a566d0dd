/**
 * What a prefix is kept under. The root key stands for everything that the numbers of a page depend on beside its tokens; the key of page n is
 * the SHA-256 of the digest of page n - 1 (of the root for n = 0) and the page's token ids as int32. So equal keys mean equal numbers, and an
 * edit gives every page from there on another key. Keys are written as the first 128 bits; digests go on whole.
 */
import type { BackendKind, MatmulPrecision, WeightFormat } from "../api.ts";
import type { AttentionChoice, KvFormats } from "../attention/api.ts";
import { hex, sha256 } from "./sha256.ts";

/** Raise when pages of an older version must not be used, although nothing below says so. */
const CACHE_VERSION = 1;
const NAME_BYTES = 16;

/** Everything that decides about the numbers in a page beside the tokens. */
export interface PrefixFacts {
  /** As `modelHash` gives it. */
  model: string;
  backend: BackendKind;
  weightFormat: WeightFormat;
  products: MatmulPrecision;
  /** Key of the position plan. */
  positions: string;
  /** Undefined for models without keys, as `attention`. */
  kv: KvFormats | undefined;
  attention: AttentionChoice | undefined;
  /** Of the runner's pages. */
  layout: string;
  tokensPerPage: number;
}

/** Root as written, and whole for what follows from it. */
export interface PrefixRoot {
  name: string;
  digest: Uint8Array<ArrayBuffer>;
}

/** Keys of the whole pages of one prompt, made when they are first asked for. */
export interface PageKeys {
  readonly root: string;
  /** Whole pages in the prompt. */
  readonly pages: number;
  readonly tokensPerPage: number;
  /** When the prompt was asked: the time of last use of all its pages, so that no page seems younger than those before it. */
  readonly usedAt: number;
  at(page: number): Promise<string>;
}

export async function prefixRoot(facts: PrefixFacts): Promise<PrefixRoot> {
  const { model, backend, weightFormat, products, positions, kv, attention, layout, tokensPerPage } = facts;
  const text = JSON.stringify([
    ...["long-context prefix", CACHE_VERSION, model, backend, weightFormat, products, positions],
    ...[kv === undefined ? null : [kv.keys, kv.values], attention === undefined ? null : attentionText(attention)],
    ...[layout, tokensPerPage],
  ]);
  const digest = await sha256(new TextEncoder().encode(text));
  return { name: written(digest), digest };
}

export function openPageKeys(root: PrefixRoot, ids: Int32Array, tokensPerPage: number, usedAt: number): PageKeys {
  const digests: Promise<Uint8Array<ArrayBuffer>>[] = [];
  const digestOf = (page: number): Promise<Uint8Array<ArrayBuffer>> => {
    // Not by recursion: a prompt of a million tokens has thousands of pages.
    for (let next = digests.length; next <= page; next++) {
      const before = digests[next - 1] ?? Promise.resolve(root.digest);
      digests.push(before.then((digest) => pageDigest(digest, ids.subarray(next * tokensPerPage, (next + 1) * tokensPerPage))));
    }
    return digests[page] ?? Promise.reject(new RangeError(`page ${page} of a prompt`));
  };
  return {
    root: root.name,
    pages: Math.floor(ids.length / tokensPerPage),
    tokensPerPage,
    usedAt,
    at: async (page) => written(await digestOf(page)),
  };
}

async function pageDigest(before: Uint8Array<ArrayBuffer>, ids: Int32Array): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(before.length + 4 * ids.length);
  bytes.set(before);
  const view = new DataView(bytes.buffer, before.length);
  for (const [index, id] of ids.entries()) view.setInt32(4 * index, id, true);
  return sha256(bytes);
}

function written(digest: Uint8Array): string {
  return hex(digest.subarray(0, NAME_BYTES));
}

/** Fields by name: the order in which a setting was written is none of its meaning. */
function attentionText({ policy, topPages }: AttentionChoice): unknown {
  return [Object.entries(policy).sort(([a], [b]) => (a < b ? -1 : 1)), topPages ?? null];
}
