/** What a person types to name a model on a hub, and the folder it is kept in. */
import { EngineError } from "../../engine/errors.ts";

export interface RepositoryId {
  /** "org/name"; old models have no organisation. */
  repository: string;
  /** Branch, tag or commit. */
  revision: string;
  /** File that the address names, where it names one. */
  file: string | undefined;
}

const PART = /^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/;
const REVISION = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/;
const REMEDY = "write it as on the model's page, for example org/name or org/name@revision";

/**
 * Reads "org/name", "org/name@revision", or the address of a page of `hubUrl` (…/org/name/tree/revision, …/blob/revision/file).
 * Throws `bad-argument`.
 */
export function parseRepositoryId(text: string, hubUrl: string): RepositoryId {
  const trimmed = text.trim();
  const page = pageOf(trimmed, hubUrl);
  if (page !== undefined) return page;
  const [repository = "", revision = "main", ...more] = trimmed.split("@");
  return checked(repository, revision, undefined, more.length === 0);
}

/** Whether a hub may call a model so. */
export function isRepository(name: string): boolean {
  const parts = name.split("/");
  return parts.length <= 2 && parts.every((part) => PART.test(part) && !/\.\.|--|\.git$/.test(part));
}

/** "org--name", as caches of hub models call their folders. */
export function folderName(repository: string): string {
  return repository.replaceAll("/", "--");
}

/** The repository a folder name stands for; undefined where it is none. */
export function repositoryOfFolder(name: string): string | undefined {
  const parts = name.split("--");
  return parts.length === 2 && parts.every((part) => PART.test(part)) ? parts.join("/") : undefined;
}

function pageOf(text: string, hubUrl: string): RepositoryId | undefined {
  if (!/^https?:\/\//i.test(text)) return undefined;
  const base = `${hubUrl}/`;
  if (!text.startsWith(base)) {
    throw new EngineError(
      "bad-argument",
      `${text} is not an address of ${hubUrl}`,
      `${REMEDY}; longContext.hub.url names the hub`,
    );
  }
  const [path = ""] = text.slice(base.length).split(/[?#]/);
  const parts = path.split("/").filter((part) => part !== "");
  const at = parts.findIndex((part) => part === "tree" || part === "blob" || part === "resolve");
  const repository = (at < 0 ? parts : parts.slice(0, at)).join("/");
  const [revision = "main", ...file] = at < 0 ? [] : parts.slice(at + 1).map((part) => decoded(part, text));
  return checked(repository, revision, file.length === 0 ? undefined : file.join("/"), true);
}

function checked(repository: string, revision: string, file: string | undefined, whole: boolean): RepositoryId {
  if (!isRepository(repository) || !whole)
    throw new EngineError("bad-argument", `"${repository}" is no name of a model on a hub`, REMEDY);
  if (!REVISION.test(revision) || /\.\.|\/\/|\/$/.test(revision))
    throw new EngineError("bad-argument", `"${revision}" is no revision of a repository`, REMEDY);
  return { repository, revision, file };
}

function decoded(part: string, text: string): string {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new EngineError("bad-argument", `${text} is no well-formed address`, REMEDY);
  }
}
