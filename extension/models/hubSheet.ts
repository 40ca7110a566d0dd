import { relative } from "node:path";
import * as vscode from "vscode";
import { plainError } from "../../engine/errors.ts";
import { parsePythonJson } from "../../engine/formats/jsonText.ts";
import { exactTokens } from "../budget/numbers.ts";
import { freeBytes, sumOf } from "../hub/downloadModel.ts";
import { type Hub, pageUrl } from "../hub/hub.ts";
import { type HubRepository, readRepositoryText } from "../hub/repository.ts";
import { type Choice, ggufVariant } from "../hub/selection.ts";
import { bytesText } from "../hub/words.ts";
import { modelOfConfig, type ReadModel } from "./modelFacts.ts";

type Deed = "download" | "page" | "fits";
type SheetItem = vscode.QuickPickItem & { does?: Deed };

/** What config.json says of a model that is not on the disk yet. */
type Outlook = { model: ReadModel } | { problem: string };

/** What a hub download would be, before anything of it is on the disk. */
export interface Proposal {
  hub: Hub;
  found: HubRepository;
  choice: Choice;
  /** Where it would be stored, and the folder of all downloaded models. */
  folder: string;
  storage: string;
}

/** Lets the user pick among several ways to have a model; undefined where he did not. */
export async function pickChoice(found: HubRepository, choices: readonly Choice[]): Promise<Choice | undefined> {
  if (choices.length === 1) return choices[0];
  const items = choices.map((choice) => ({
    choice,
    label: choice.kind === "gguf" ? ggufVariant(choice.ggufName) : "safetensors",
    description: bytesText(sumOf(choice.files)),
    detail: choice.kind === "gguf" ? choice.ggufName : "the weights as they were published",
  }));
  const title = `Long Context: Which Files of ${found.repository}?`;
  return (
    await vscode.window.showQuickPick(items, {
      title,
      placeHolder: "Smaller quantisations need less memory",
      matchOnDetail: true,
    })
  )?.choice;
}

/** Shows files, size, free space, licence and place, and whether the engine can run it; true when the user wants it. */
export async function confirmDownload(proposal: Proposal, showFits: (model: ReadModel) => Promise<void>): Promise<boolean> {
  const { found, choice, hub, folder, storage } = proposal;
  const [free, outlook] = await Promise.all([freeBytes(folder), outlookOf(proposal)]);
  const total = bytesText(sumOf(choice.files));
  const unchecked = choice.files.filter(({ checksum }) => checksum === undefined).length;
  const items: SheetItem[] = [
    {
      does: "download",
      label: `$(cloud-download) Download ${total}`,
      description: `${filesText(choice.files.length)} from ${hub.url}, ${bytesText(free)} free`,
      // The end of the path comes first: a list cuts off what is too long.
      detail: `Stored in ${relative(storage, folder)} of ${storage}`,
    },
    {
      does: "page",
      label: `$(law) Licence: ${found.license ?? "not stated"}`,
      description: found.gated ? "gated: its terms must have been accepted on the model's page" : "",
      detail: `Open ${pageUrl(hub, found.repository)} to read it`,
    },
    ...outlookItems(outlook),
    ...(unchecked === 0
      ? []
      : [
          { label: `$(warning) The hub states no checksum for ${filesText(unchecked)}`, detail: "Only their sizes are checked." },
        ]),
    { label: `Files at commit ${found.commit.slice(0, 12)}`, kind: vscode.QuickPickItemKind.Separator },
    ...choice.files.map(({ name, sizeBytes }) => ({
      label: name,
      description: sizeBytes === undefined ? "size not stated" : bytesText(sizeBytes),
    })),
  ];
  return showSheet(`Long Context: Download ${found.repository}?`, items, async (deed) => {
    if (deed === "page") await vscode.env.openExternal(vscode.Uri.parse(pageUrl(hub, found.repository)));
    if (deed === "fits" && outlook !== undefined && "model" in outlook) await showFits(outlook.model);
  });
}

function outlookItems(outlook: Outlook | undefined): SheetItem[] {
  if (outlook === undefined) return [];
  if ("problem" in outlook) return [{ label: `$(warning) ${outlook.problem}`, detail: "It can be downloaded, but not opened." }];
  const { family, contextTokens, weights } = outlook.model;
  const facts = `${family}, ${exactTokens(weights.parameterCount)} parameters, trained on ${exactTokens(contextTokens)} tokens`;
  return [{ does: "fits", label: "$(dashboard) What fits this machine?", description: facts }];
}

/** What the engine makes of its config.json; undefined for a GGUF file, which has its own. */
async function outlookOf({ hub, found, choice }: Proposal): Promise<Outlook | undefined> {
  if (choice.kind === "gguf") return undefined;
  const text = await readRepositoryText(hub, found, "config.json");
  try {
    return { model: modelOfConfig(parsePythonJson(text, "config.json", "unsupported-model", "choose another repository")) };
  } catch (error) {
    const { message, remedy } = plainError(error);
    return { problem: `${message}; ${remedy}` };
  }
}

/** A list whose first entry is the deed; the others are there to be read, or do something without closing it. */
function showSheet(title: string, items: SheetItem[], act: (deed: Deed) => Promise<void>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const sheet = vscode.window.createQuickPick<SheetItem>();
    let wanted = false;
    sheet.title = title;
    sheet.placeholder = "Enter downloads, Escape leaves everything as it is";
    sheet.items = items;
    sheet.ignoreFocusOut = true;
    sheet.onDidAccept(() => {
      const does = sheet.activeItems[0]?.does;
      wanted = does === "download";
      if (wanted) sheet.hide();
      else if (does !== undefined) act(does).catch(reject);
    });
    sheet.onDidHide(() => {
      sheet.dispose();
      resolve(wanted);
    });
    sheet.show();
  });
}

function filesText(count: number): string {
  return count === 1 ? "1 file" : `${count} files`;
}
