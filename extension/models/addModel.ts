import { join } from "node:path";
import * as vscode from "vscode";
import { hubUrlSetting } from "../config.ts";
import type { Hub } from "../hub/hub.ts";
import { type HubFile, type HubRepository, readRepository, withDetails } from "../hub/repository.ts";
import { parseRepositoryId, type RepositoryId } from "../hub/repositoryId.ts";
import { type Choice, choicesOf } from "../hub/selection.ts";
import { EngineError, plainError } from "../../engine/errors.ts";
import type { Downloads } from "./downloads.ts";
import { confirmDownload, pickChoice } from "./hubSheet.ts";
import type { KnownModel, KnownModels } from "./knownModels.ts";
import { readModelFolder } from "./location.ts";
import type { ReadModel } from "./modelFacts.ts";

export interface AddServices {
  known: KnownModels;
  downloads: Downloads;
  hub: () => Promise<Hub>;
  /** Shows what of a model fits this machine. */
  showFits: (label: string, model: ReadModel) => Promise<void>;
}

/** What the command may be given instead of asking: for keybindings and tests. */
export type AddArgument = { path: string } | { repository: string };

/**
 * Asks how the model is had and adds it; what is downloaded is shown before. Resolves to the model once it is whole, undefined where the
 * user changed his mind. Throws what reading the disk or the hub throws; a download that stops leaves the model on the list, to be resumed.
 */
export async function addModel(services: AddServices, argument: unknown): Promise<KnownModel | undefined> {
  const given = isArgument(argument) ? argument : await askWay();
  if (given === undefined) return undefined;
  return "path" in given ? addFromDisk(services, given.path) : addFromHub(services, given.repository);
}

async function addFromDisk({ known }: AddServices, chosen: string): Promise<KnownModel> {
  const { path } = await readModelFolder(chosen);
  const before = (await known.all()).find((model) => model.path === path);
  if (before !== undefined) return before;
  const model: KnownModel = { path, source: { kind: "disk" } };
  await known.add(model);
  return model;
}

async function addFromHub(services: AddServices, text: string): Promise<KnownModel | undefined> {
  const { known, downloads } = services;
  const hub = await services.hub();
  const asked = parseRepositoryId(text, hub.url);
  const found = await asking(asked.repository, (signal) => readRepository(hub, asked.repository, asked.revision, signal));
  const choice = await pickChoice(found, wanted(choicesOf(hub, found), asked, found));
  if (choice === undefined) return undefined;
  const files = await detailed(hub, found, choice);
  const folder = known.folderOf(found);
  const { repository, revision, commit, license } = found;
  const path = choice.kind === "gguf" ? join(folder, ...choice.ggufName.split("/")) : folder;
  const showFits = (model: ReadModel): Promise<void> => services.showFits(repository, model);
  if (!(await confirmDownload({ hub, found, choice: { ...choice, files }, folder, storage: known.folder }, showFits)))
    return undefined;
  const model: KnownModel = { path, source: { kind: "hub", hub: hub.url, repository, revision, commit, license, files } };
  // On the list before anything is downloaded, so that what is stopped half-way can be found and resumed.
  await known.add(model);
  await downloads.start(model);
  return model;
}

/** The ways that fit what was asked for: an address may name one file. */
function wanted(choices: Choice[], { file }: RepositoryId, { repository }: HubRepository): Choice[] {
  if (file === undefined) return choices;
  const named = choices.filter((choice) => choice.files.some(({ name }) => name === file));
  if (named.length > 0) return named;
  throw new EngineError("not-found", `${file} of ${repository} is nothing to open a model from`, "name the repository alone");
}

/** The files with sizes and checksums; most hubs list them, others are asked file by file. */
function detailed(hub: Hub, found: HubRepository, { files }: Choice): Promise<readonly HubFile[]> {
  if (files.every(({ sizeBytes, checksum }) => sizeBytes !== undefined && checksum !== undefined)) return Promise.resolve(files);
  return asking(found.repository, (signal) => Promise.all(files.map((file) => withDetails(hub, found, file, signal))));
}

/** A hub may take its time; the user may not want to. */
function asking<Result>(repository: string, work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const title = `Asking the hub for ${repository}`;
  return Promise.resolve(
    vscode.window.withProgress({ location: vscode.ProgressLocation.Notification, title, cancellable: true }, (_, token) => {
      const stop = new AbortController();
      token.onCancellationRequested(() => stop.abort());
      return work(stop.signal);
    }),
  );
}

type Way = "folder" | "gguf" | "hub";

async function askWay(): Promise<AddArgument | undefined> {
  const ways: (vscode.QuickPickItem & { way: Way })[] = [
    {
      way: "folder",
      label: "$(folder-opened) Folder…",
      description: "config.json, tokenizer.json, *.safetensors",
      detail: "A Hugging Face model folder on this machine; it is read where it lies",
    },
    { way: "gguf", label: "$(file-binary) GGUF file…", description: "*.gguf", detail: "Read where it lies" },
    {
      way: "hub",
      label: "$(cloud-download) Hugging Face repository…",
      description: hubUrlSetting(),
      detail: "Files, size and licence are shown before anything is downloaded",
    },
  ];
  const picked = await vscode.window.showQuickPick(ways, {
    title: "Long Context: Add Model",
    placeHolder: "Where is the model?",
  });
  switch (picked?.way) {
    case "folder":
    case "gguf":
      return pathArgument(await pickOnDisk(picked.way));
    case "hub":
      return repositoryArgument(await inputRepository());
    default:
      return undefined;
  }
}

async function pickOnDisk(way: "folder" | "gguf"): Promise<string | undefined> {
  const files = way === "gguf";
  const picked = await vscode.window.showOpenDialog({
    canSelectFolders: !files,
    canSelectFiles: files,
    canSelectMany: false,
    openLabel: "Add this model",
    title: files ? "A GGUF file" : "A Hugging Face model folder",
    ...(files ? { filters: { GGUF: ["gguf"] } } : {}),
  });
  return picked?.[0]?.fsPath;
}

function inputRepository(): Thenable<string | undefined> {
  const hubUrl = hubUrlSetting();
  return vscode.window.showInputBox({
    title: "Long Context: Add Model from a Hub",
    prompt: `A model of ${hubUrl}: its name, or the address of its page. Nothing is downloaded yet.`,
    placeHolder: "org/name or org/name@revision",
    ignoreFocusOut: true,
    validateInput: (text) => {
      try {
        parseRepositoryId(text, hubUrl);
        return undefined;
      } catch (error) {
        const { message, remedy } = plainError(error);
        return text.trim() === "" ? remedy : `${message}; ${remedy}`;
      }
    },
  });
}

function pathArgument(path: string | undefined): AddArgument | undefined {
  return path === undefined ? undefined : { path };
}

function repositoryArgument(repository: string | undefined): AddArgument | undefined {
  return repository === undefined ? undefined : { repository };
}

function isArgument(value: unknown): value is AddArgument {
  if (typeof value !== "object" || value === null) return false;
  return ("path" in value && typeof value.path === "string") || ("repository" in value && typeof value.repository === "string");
}
