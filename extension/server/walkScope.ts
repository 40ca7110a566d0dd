import { realpathSync } from "node:fs";
import { join } from "node:path";
import type { Environment } from "./gitConfig.ts";
import { builtInSource, findRepository, openRepository, type Repository } from "./gitRepository.ts";
import { byteString, expandBraces, textOf } from "./globs.ts";
import { decidingRule, ignoreFileNames, type Rule, type RuleChain, RuleList } from "./ignoreRules.ts";
import { readRegularFile } from "./regularFile.ts";
import type { ExcludedRow } from "./requests.ts";
import { insideOf } from "./roots.ts";

export type Exclusion = Pick<ExcludedRow, "reason" | "kind">;

/** What holds for the entries of one folder. Paths have one character per byte and, but for the top's "", a "/" at their end. */
export interface Scope {
  readonly repository: Repository;
  /** The folder below the top of its repository, and the rules of git that hold in it. */
  readonly gitFolder: string;
  readonly gitRules: RuleChain | undefined;
  /** The folder below the root, and the rules of .longcontextignore files that hold in it. */
  readonly ownFolder: string;
  readonly ownRules: RuleChain | undefined;
  /** The folder is left out for this: only what git tracks or a .longcontextignore takes back is in. */
  readonly ignored: Exclusion | undefined;
  /** Whether a file that no include glob names by itself is in. */
  readonly included: boolean;
}

/** What to do with a folder: leave it out, enter it, or enter it as a repository of its own. */
export type FolderVerdict = { leaveOut: Exclusion } | { enter: Scope; asRepository: boolean };

/** Gets the ignore file that git reads from its objects, where these lack it. */
export type OnMissing = (source: string) => void;

/** What holds in the root: the rules from the top of its repository down to it, unless they ignore the root itself. */
export async function rootScope(
  folder: string,
  include: RuleList | undefined,
  environment: Environment,
  signal: AbortSignal | undefined,
  onMissing: OnMissing,
): Promise<Scope> {
  const real = realpathSync(folder);
  const place = findRepository(real);
  const repository = await openRepository(place, environment, signal);
  const parts =
    (place &&
      insideOf(place.top, real)
        ?.split("/")
        .filter((part) => part !== "")) ??
    [];
  let gitRules = repository.rules;
  let gitFolder = "";
  for (const [depth, part] of parts.entries()) {
    const source = `${"../".repeat(parts.length - depth)}.gitignore`;
    const bytes = gitRulesFile(repository, join(place?.top ?? "", ...parts.slice(0, depth)), gitFolder, true);
    if (bytes === "missing") onMissing(source);
    else gitRules = withRules(gitRules, bytes, { base: gitFolder, source, ignoreCase: repository.ignoreCase });
    const name = byteString(part);
    // Who opens an ignored folder means it.
    const ignored = decidingRule(gitRules, gitFolder, name, true);
    gitFolder += `${name}/`;
    if (!ignored || ignored.negated || ignored.source === builtInSource) continue;
    gitFolder = parts.map((below) => `${byteString(below)}/`).join("");
    gitRules = builtInOnly(repository.rules);
    break;
  }
  const included = include === undefined || include.onlyTakesBack;
  return { repository, gitFolder, gitRules, ownFolder: "", ownRules: undefined, ignored: undefined, included };
}

/** The scope of a folder that is a repository of its own. */
export async function repositoryScope(
  outer: Scope,
  place: NonNullable<Repository["place"]>,
  environment: Environment,
  signal: AbortSignal | undefined,
): Promise<Scope> {
  const repository = await openRepository(place, environment, signal);
  return { ...outer, repository, gitFolder: "", gitRules: repository.rules, ignored: undefined };
}

/** The scope with the rules that the folder's own ignore files add. `source` is the folder as a person names it, with "/" at its end. */
export function withIgnoreFiles(
  scope: Scope,
  folder: string,
  source: string,
  has: (name: string) => boolean,
  onMissing: OnMissing,
): Scope {
  const { ignoreCase } = scope.repository;
  const [gitName, ownName] = ignoreFileNames;
  let { gitRules, ownRules } = scope;
  // Git does not read the rules of a folder that it leaves out.
  const bytes = scope.ignored ? undefined : gitRulesFile(scope.repository, folder, scope.gitFolder, has(gitName));
  if (bytes === "missing") onMissing(source + gitName);
  else gitRules = withRules(gitRules, bytes, { base: scope.gitFolder, source: source + gitName, ignoreCase });
  if (has(ownName)) {
    const own = readRegularFile(join(folder, ownName), true);
    ownRules = withRules(ownRules, own, { base: scope.ownFolder, source: source + ownName, ignoreCase });
  }
  return gitRules === scope.gitRules && ownRules === scope.ownRules ? scope : { ...scope, gitRules, ownRules };
}

/** Rules of the include globs; undefined where there are none. */
export function includeRules(globs: readonly string[], ignoreCase: boolean): RuleList | undefined {
  const patterns = globs.flatMap((glob) => expandBraces(glob.trim().replace(/^\.\//, "/"))).filter((glob) => glob !== "");
  if (patterns.length === 0) return undefined;
  return new RuleList({ base: "", source: "the include globs", ignoreCase }, byteString(patterns.join("\n")));
}

/** What to do with the folder `name` (one character per byte) of the scope's folder. */
export function folderVerdict(scope: Scope, name: string, include: RuleList | undefined): FolderVerdict {
  const { repository, gitFolder, ownFolder, ownRules } = scope;
  const gitPath = gitFolder + name;
  const ownPath = ownFolder + name;
  const own = decidingRule(ownRules, ownFolder, name, true);
  if (own && !own.negated) return { leaveOut: ignoredBy(own) };
  const takenBack = own !== undefined;
  const isSubmodule = repository.index.isSubmodule(gitPath);
  if (isSubmodule && !takenBack) return { leaveOut: ownRepository("submodule", ownPath) };
  const ignored = takenBack ? undefined : (scope.ignored ?? ignoredByGit(scope, name, true));
  if (ignored && !repository.index.tracksBelow(gitPath) && !takesBackBelow(ownRules, `${ownPath}/`)) return { leaveOut: ignored };
  const rule = include?.match(ownFolder, name, true);
  const included = rule ? !rule.negated : scope.included;
  if (!included && !include?.reachesInto(`${ownPath}/`, false, true)) return { leaveOut: notIncluded() };
  const enter = { ...scope, gitFolder: `${gitPath}/`, ownFolder: `${ownPath}/`, ignored, included };
  return { enter, asRepository: takenBack };
}

/** Why the file `name` (one character per byte) of the scope's folder is left out by the ignore rules. */
export function fileVerdict(scope: Scope, name: string): Exclusion | undefined {
  const { repository, gitFolder, ownFolder, ownRules } = scope;
  const own = decidingRule(ownRules, ownFolder, name, false);
  if (own) return own.negated ? undefined : ignoredBy(own);
  const ignored = scope.ignored ?? ignoredByGit(scope, name, false);
  return ignored && !repository.index.tracks(gitFolder + name) ? ignored : undefined;
}

export function isIncluded(scope: Scope, name: string, include: RuleList | undefined): boolean {
  const rule = include?.match(scope.ownFolder, name, false);
  return rule ? !rule.negated : scope.included;
}

export function notIncluded(files?: number): Exclusion {
  if (files === undefined) return { reason: "no include glob names it or anything in it", kind: "not-included" };
  return { reason: `nothing in it matches the include globs (${files} entries)`, kind: "not-included" };
}

/** A repository inside another one: git lists it as one entry, and so do we. */
export function ownRepository(what: string, ownPath: string): Exclusion {
  const path = textOf(ownPath);
  const remedy = `open it as a folder of its own, or write "!/${path}/" into .longcontextignore`;
  return { reason: `${what}; ${remedy}`, kind: "submodule" };
}

function ignoredByGit({ gitRules, gitFolder }: Scope, name: string, isFolder: boolean): Exclusion | undefined {
  const rule = decidingRule(gitRules, gitFolder, name, isFolder);
  return rule && !rule.negated ? ignoredBy(rule) : undefined;
}

/** One for all that a rule leaves out. */
const exclusions = new WeakMap<Rule, Exclusion>();

function ignoredBy(rule: Rule): Exclusion {
  let exclusion = exclusions.get(rule);
  if (!exclusion) {
    exclusion =
      rule.source === builtInSource
        ? { reason: "installed packages", kind: "installed-packages" }
        : { reason: `ignored by ${rule.source}: ${rule.text}`, kind: "ignored" };
    exclusions.set(rule, exclusion);
  }
  return exclusion;
}

function takesBackBelow(rules: RuleChain | undefined, folder: string): boolean {
  for (let at = rules; at; at = at.weaker) if (at.list.reachesInto(folder, true, false)) return true;
  return false;
}

/** The .gitignore of a folder: the file, or what git tracks of it where it is not checked out. */
function gitRulesFile(
  { index }: Repository,
  folder: string,
  gitFolder: string,
  mayExist: boolean,
): Buffer | "missing" | undefined {
  const [name] = ignoreFileNames;
  return (mayExist ? readRegularFile(join(folder, name), true) : undefined) ?? index.skippedRules(gitFolder + name);
}

function withRules(
  chain: RuleChain | undefined,
  bytes: Buffer | undefined,
  place: ConstructorParameters<typeof RuleList>[0],
): RuleChain | undefined {
  if (!bytes) return chain;
  const list = new RuleList(place, bytes.toString("latin1"));
  return list.isEmpty ? chain : { list, weaker: chain };
}

function builtInOnly(chain: RuleChain | undefined): RuleChain | undefined {
  let last = chain;
  while (last?.weaker) last = last.weaker;
  return last;
}
