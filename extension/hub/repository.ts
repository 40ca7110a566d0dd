/** What a hub says about a model's repository at one revision. Everything in it comes from a server and is checked. */
import { EngineError } from "../../engine/errors.ts";
import { isRecord, type JsonRecord, parseJson, shown } from "../../engine/formats/json.ts";
import { type Checksum, checksumOf, checksumOfEtag } from "./checksum.ts";
import { gatedError } from "./failures.ts";
import { checkFileName } from "./fileName.ts";
import { type Hub, pageUrl } from "./hub.ts";
import { type HubAnswer, hubRequest, hubText } from "./request.ts";
import { isRepository } from "./repositoryId.ts";
import { withRetries } from "./retry.ts";

export interface HubFile {
  /** Path in the repository. */
  name: string;
  /** Undefined where neither the listing nor the file's headers say it. */
  sizeBytes: number | undefined;
  checksum: Checksum | undefined;
}

export interface HubRepository {
  /** "org/name" as the hub spells it: models are renamed. */
  repository: string;
  revision: string;
  /** The commit that the revision is now; everything is read at it. */
  commit: string;
  gated: boolean;
  /** As the model's card names it, e.g. "apache-2.0"; undefined where it names none. */
  license: string | undefined;
  /** `model_type` of config.json, or the architecture of its GGUF files. */
  modelType: string | undefined;
  files: readonly HubFile[];
}

const MOST_LISTING_BYTES = 32 * 2 ** 20;
const MOST_CONFIG_BYTES = 4 * 2 ** 20;

/** Asks for files, sizes, checksums and licence. Throws what `hubRequest` throws, and `hub-refused` for a gated model without a token. */
export async function readRepository(
  hub: Hub,
  repository: string,
  revision: string,
  signal?: AbortSignal,
): Promise<HubRepository> {
  const path = `/api/models/${repository}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const text = await withRetries(hub, signal, () =>
    hubText(hub, path, { what: repository, repository, signal }, MOST_LISTING_BYTES),
  );
  const found = parseRepository(text, repository, revision, hub.url);
  if (found.gated && hub.token === undefined) throw gatedError(hub, found.repository);
  return found;
}

/** A small text file of the repository, for looking at it before anything is stored. */
export async function readRepositoryText(
  hub: Hub,
  { repository, commit }: HubRepository,
  name: string,
  signal?: AbortSignal,
): Promise<string> {
  return withRetries(hub, signal, () =>
    hubText(hub, filePath(repository, commit, name), { what: `${name} of ${repository}`, repository, signal }, MOST_CONFIG_BYTES),
  );
}

/** Path at which the hub gives a file, or redirects to the store that does. */
export function filePath(repository: string, commit: string, name: string): string {
  return `/${repository}/resolve/${encodeURIComponent(commit)}/${name.split("/").map(encodeURIComponent).join("/")}`;
}

/** The file with size and checksum; hubs whose listing leaves them out say them in the headers of the file itself. */
export async function withDetails(
  hub: Hub,
  { repository, commit }: HubRepository,
  file: HubFile,
  signal?: AbortSignal,
): Promise<HubFile> {
  if (file.sizeBytes !== undefined && file.checksum !== undefined) return file;
  const what = `${file.name} of ${repository}`;
  const answer = await withRetries(hub, signal, () =>
    hubRequest(hub, filePath(repository, commit, file.name), { method: "HEAD", what, repository, stayOnHub: true, signal }),
  );
  answer.body.resume();
  const { sizeBytes, checksum } = statedDetails(answer);
  return { ...file, sizeBytes: file.sizeBytes ?? sizeBytes, checksum: file.checksum ?? checksum };
}

/** What the hub's own headers say about a file: those of a redirect are about what it leads to. */
export function statedDetails({
  hubHeaders,
}: HubAnswer): Pick<HubFile, "sizeBytes" | "checksum"> & { commit: string | undefined } {
  const redirects = hubHeaders.location !== undefined;
  const text = (name: string): string | undefined => {
    const value = hubHeaders[name];
    return Array.isArray(value) ? value[0] : value;
  };
  const size =
    text("x-linked-size") ?? (redirects || hubHeaders["content-range"] !== undefined ? undefined : text("content-length"));
  return {
    sizeBytes: size !== undefined && /^\d{1,15}$/.test(size) ? Number(size) : undefined,
    checksum: checksumOfEtag(text("x-linked-etag") ?? (redirects ? undefined : text("etag"))),
    commit: text("x-repo-commit"),
  };
}

/** Reads the answer of /api/models/<id>/revision/<revision>?blobs=true. */
export function parseRepository(text: string, asked: string, revision: string, hubUrl: string): HubRepository {
  const strange = (what: string): EngineError =>
    new EngineError(
      "hub-unreachable",
      `the hub's answer about ${asked} ${what}`,
      "check longContext.hub.url: is it the address of a hub?",
    );
  const remedy = "check longContext.hub.url: is it the address of a hub?";
  const json = parseJson(text, `the hub's answer about ${asked}`, "hub-unreachable", remedy);
  if (!isRecord(json)) throw strange(`is ${shown(json)}`);
  const { id, sha, siblings, disabled } = json;
  if (disabled === true)
    throw new EngineError("hub-refused", `${asked} was disabled by the hub`, `read why at ${pageUrl({ url: hubUrl }, asked)}`);
  if (typeof sha !== "string" || !/^[0-9a-f]{40,64}$/.test(sha)) throw strange(`names no commit: ${shown(sha)}`);
  if (!Array.isArray(siblings)) throw strange("lists no files");
  const files = siblings.map((sibling: unknown) => {
    const file = isRecord(sibling) ? fileOf(sibling) : undefined;
    if (file === undefined) throw strange(`lists a file as ${shown(sibling)}`);
    return file;
  });
  return {
    repository: typeof id === "string" && isRepository(id) ? id : asked,
    revision,
    commit: sha,
    gated: json["gated"] === "auto" || json["gated"] === "manual" || json["gated"] === true,
    license: licenseOf(json),
    modelType: modelTypeOf(json),
    files,
  };
}

function fileOf(sibling: JsonRecord): HubFile | undefined {
  const { rfilename: name, size, blobId, lfs } = sibling;
  if (typeof name !== "string") return undefined;
  checkFileName(name);
  const inLfs = isRecord(lfs) ? lfs : undefined;
  const hex = inLfs?.["sha256"] ?? inLfs?.["oid"] ?? blobId;
  const sizeBytes = inLfs?.["size"] ?? size;
  return {
    name,
    sizeBytes: Number.isSafeInteger(sizeBytes) && Number(sizeBytes) >= 0 ? Number(sizeBytes) : undefined,
    checksum: typeof hex === "string" ? checksumOf(hex) : undefined,
  };
}

/** The card's licence by its name where it is a "other" one, else by its id; some hubs have it among the tags only. */
function licenseOf(json: JsonRecord): string | undefined {
  const card = isRecord(json["cardData"]) ? json["cardData"] : {};
  const named = card["license"] === "other" ? (card["license_name"] ?? card["license"]) : card["license"];
  const listed: readonly unknown[] = Array.isArray(named) ? named : [named];
  const words = listed.filter((word): word is string => typeof word === "string" && word.trim() !== "");
  if (words.length > 0) return oneLine(words.join(", "));
  const tags: readonly unknown[] = Array.isArray(json["tags"]) ? json["tags"] : [];
  const tag = tags.find((word): word is string => typeof word === "string" && word.startsWith("license:"));
  return tag === undefined ? undefined : oneLine(tag.slice("license:".length));
}

function modelTypeOf(json: JsonRecord): string | undefined {
  const config = isRecord(json["config"]) ? json["config"]["model_type"] : undefined;
  const gguf = isRecord(json["gguf"]) ? json["gguf"]["architecture"] : undefined;
  const found = config ?? gguf;
  return typeof found === "string" ? oneLine(found) : undefined;
}

function oneLine(text: string): string {
  return text
    .replaceAll(/[\u0000-\u001f\u007f]+/g, " ")
    .trim()
    .slice(0, 100);
}
