import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { levels } from "../../../engine/pack/levels.ts";
import { commandIds } from "../../../extension/commandIds.ts";
import { chatCommands, modelVendor, participantId, participantName } from "../../../extension/chat/names.ts";
import { bundledModelFolders } from "../../../extension/models/location.ts";
import { modelsViewId } from "../../../extension/models/viewId.ts";
import { playgroundViewType } from "../../../extension/panel/viewType.ts";
import { budgetViewId, checkTaskType, contextSetFolder } from "../../../extension/budget/names.ts";
import { walkthroughId, walkthroughKeys } from "../../../extension/walkthrough/names.ts";
import { backendSettings, settingDefaults, settingIds, tokenizerSettings } from "../../../extension/settings.ts";

interface Menu {
  command?: string;
  submenu?: string;
  when?: string;
}

interface Manifest {
  main: string;
  activationEvents: string[];
  capabilities: { untrustedWorkspaces: { supported: string; description: string; restrictedConfigurations: string[] } };
  contributes: {
    viewsContainers: { activitybar: { id: string; title: string; icon: string }[] };
    views: Record<string, { id: string; name: string; icon: string }[]>;
    viewsWelcome: { view: string; when: string; contents: string }[];
    commands: { command: string; title: string; category: string; icon?: string | Record<string, string> }[];
    submenus: { id: string; label: string }[];
    menus: Record<string, Menu[]>;
    keybindings: { command: string; key: string; when: string; args?: { commands: (string | { command: string })[] } }[];
    chatParticipants: { id: string; name: string; commands: { name: string; description: string }[] }[];
    languageModelChatProviders: { vendor: string; displayName: string; managementCommand: string }[];
    walkthroughs: {
      id: string;
      when: string;
      steps: {
        id: string;
        title: string;
        description: string;
        media: { svg?: string; markdown?: string; altText?: string };
        completionEvents: string[];
      }[];
    }[];
    taskDefinitions: { type: string; required: string[]; properties: Record<string, unknown> }[];
    jsonValidation: { fileMatch: string; url: string }[];
    configuration: {
      properties: Record<string, { default: unknown; scope: string; enum?: string[]; enumDescriptions?: string[] }>;
    };
  };
}

const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Manifest;
const { contributes, capabilities } = manifest;
const { commands, configuration } = contributes;

test("the commands of the manifest are the commands of the table", () => {
  assert.deepEqual(commands.map(({ command }) => command).sort(), Object.values(commandIds).sort());
  for (const { command, category } of commands) {
    assert.equal(category, command.includes(".debug.") ? "Long Context (debug)" : "Long Context", command);
  }
});

test("menus, keys and welcome texts run commands that exist, in views that exist", () => {
  const known = new Set<string>([...Object.values(commandIds), "vscode.openFolder", "workbench.action.openSettings"]);
  const submenus = new Set(contributes.submenus.map(({ id }) => id));
  for (const [menu, entries] of Object.entries(contributes.menus)) {
    for (const { command, submenu } of entries)
      assert.ok(known.has(command ?? "") || submenus.has(submenu ?? ""), `${menu}: ${command}`);
  }
  for (const { command, args, when } of contributes.keybindings) {
    const run = command === "runCommands" ? (args?.commands ?? []) : [command];
    for (const one of run) {
      const id = typeof one === "string" ? one : one.command;
      assert.ok(known.has(id) || id === "list.toggleSelection", id);
    }
    const views = `${budgetViewId}|${modelsViewId}`;
    assert.match(when, new RegExp(`^focusedView == (${views})\\b`), "no key is taken anywhere else");
  }
  const links = contributes.viewsWelcome.flatMap(({ contents }) => [...contents.matchAll(/\(command:([\w.]+)/g)]);
  assert.ok(links.length >= 4);
  for (const [, command = ""] of links) assert.ok(known.has(command), command);
  const whens = Object.values(contributes.menus)
    .flat()
    .flatMap(({ when = "" }) => [...when.matchAll(/view == ([\w.]+)/g)])
    .map(([, view]) => view);
  assert.deepEqual([...new Set(whens)], [budgetViewId, modelsViewId]);
});

test("the views lie in the Long Context container and explain why they are empty", () => {
  assert.deepEqual(
    contributes.viewsContainers.activitybar.map(({ title }) => title),
    ["Long Context"],
  );
  const [container] = contributes.viewsContainers.activitybar;
  assert.deepEqual(
    contributes.views[container?.id ?? ""]?.map(({ id, name }) => ({ id, name })),
    [
      { id: budgetViewId, name: "Budget" },
      { id: modelsViewId, name: "Models" },
    ],
  );
  const welcome = contributes.viewsWelcome.filter(({ view }) => view === budgetViewId).map(({ when }) => when);
  for (const reason of ["workspaceFolderCount == 0", "== counting", "== failed", "== empty"])
    assert.equal(welcome.filter((when) => when.includes(reason)).length, 1, reason);
  const ofModels = contributes.viewsWelcome.filter(({ view }) => view === modelsViewId).map(({ when }) => when);
  assert.deepEqual(ofModels, ["longContext.modelsState == failed"]);
});

test("every command on rows is in the menu of rows and can be reached from the palette", () => {
  const onRows = contributes.menus["view/item/context"]?.map(({ command }) => command) ?? [];
  for (const name of ["include", "outlineOnly", "nameOnly", "exclude", "resetLevel", "why"] as const)
    assert.ok(onRows.includes(commandIds[name]), name);
  assert.equal(contributes.menus.commandPalette, undefined, "the palette hides nothing");
});

test("the settings of the manifest are the settings that are read", () => {
  assert.deepEqual(Object.keys(configuration.properties).sort(), Object.values(settingIds).sort());
  const choices = { backend: backendSettings, tokenizer: tokenizerSettings };
  for (const [name, values] of Object.entries(choices)) {
    const property = configuration.properties[settingIds[name as keyof typeof choices]];
    assert.deepEqual(property?.enum, [...values]);
    assert.equal(property?.enumDescriptions?.length, values.length);
    assert.equal(property?.default, values[0]);
  }
  for (const [name, value] of Object.entries(settingDefaults))
    assert.equal(configuration.properties[settingIds[name as keyof typeof settingDefaults]]?.default, value, name);
});

test("an untrusted workspace gets a limited extension: it cannot say which model or tokenizer is read, or from which hub", () => {
  const paths = [settingIds.modelPath, settingIds.tokenizerPath, settingIds.hubUrl, settingIds.hubOffline];
  for (const id of paths) assert.equal(configuration.properties[id]?.scope, "machine", id);
  const { supported, description, restrictedConfigurations } = capabilities.untrustedWorkspaces;
  assert.equal(supported, "limited");
  assert.deepEqual(restrictedConfigurations, paths);
  assert.match(description, /git/i, "what is off is said");
});

test("what a folder may want for itself is set per folder", () => {
  const machine = new Set<string>([
    settingIds.modelPath,
    settingIds.tokenizerPath,
    settingIds.backend,
    settingIds.hubUrl,
    settingIds.hubOffline,
    settingIds.prefixCacheMaxGiB,
  ]);
  for (const [id, { scope }] of Object.entries(configuration.properties))
    if (!machine.has(id)) assert.equal(scope, "resource", id);
});

test("context sets are checked against a schema that ships", () => {
  const [validation] = contributes.jsonValidation;
  assert.equal(validation?.fileMatch, `${contextSetFolder}/*.json`);
  const schema = JSON.parse(readFileSync(validation.url, "utf8")) as {
    additionalProperties: unknown;
    properties: { levels: { additionalProperties: { enum: string[] } } };
  };
  assert.equal(schema.additionalProperties, false, "nothing unknown in it, so no URL and no command");
  for (const key of ["version", "name", "window", "reserve", "levels"]) assert.ok(key in schema.properties, key);
  assert.deepEqual(schema.properties.levels.additionalProperties.enum, [...levels]);
});

test("the chat participant and the language models are declared under the names that are registered", () => {
  const [participant, ...others] = contributes.chatParticipants;
  assert.deepEqual(others, []);
  assert.deepEqual([participant?.id, participant?.name], [participantId, participantName]);
  assert.deepEqual(
    participant?.commands.map(({ name }) => name),
    [...chatCommands],
  );
  for (const { description } of participant.commands) assert.notEqual(description, "");
  const [provider] = contributes.languageModelChatProviders;
  assert.equal(provider?.vendor, modelVendor);
  assert.ok(Object.values<string>(commandIds).includes(provider.managementCommand));
});

test("the walkthrough links commands that exist, shows media that ship, and is done by what really happens", () => {
  const [walkthrough, ...others] = contributes.walkthroughs;
  assert.deepEqual(others, []);
  assert.equal(walkthrough?.id, walkthroughId);
  assert.equal(walkthrough.when, walkthroughKeys.started, "VS Code opens what is visible when it is installed");
  const known = new Set<string>([...Object.values(commandIds), "vscode.openFolder", `${budgetViewId}.focus`]);
  const keys = Object.values<string>(walkthroughKeys);
  assert.ok(walkthrough.steps.length >= 7);
  for (const { id, description, media, completionEvents } of walkthrough.steps) {
    const links = [...description.matchAll(/\(command:([\w.]+)\)/g)];
    assert.ok(links.length > 0, id);
    for (const [, command = ""] of links) assert.ok(known.has(command), `${id}: ${command}`);
    const file = media.svg ?? media.markdown ?? "";
    assert.ok(existsSync(file), `${id}: ${file}`);
    if (media.svg !== undefined) {
      assert.notEqual(media.altText ?? "", "", id);
      assert.doesNotMatch(readFileSync(file, "utf8"), /#[0-9a-f]{3,8}\b|rgb\(|<script|href/i, "theme colours, nothing active");
    }
    assert.ok(completionEvents.length > 0, id);
    for (const event of completionEvents) {
      const [kind, what = ""] = event.split(":");
      if (kind === "onCommand") assert.ok(known.has(what), event);
      else if (kind === "onView") assert.ok([budgetViewId, modelsViewId].includes(what), event);
      else assert.ok(kind === "onContext" && keys.includes(what), event);
    }
  }
});

test("the budget check is a task with a number", () => {
  const [task] = contributes.taskDefinitions;
  assert.equal(task?.type, checkTaskType);
  assert.deepEqual(task.required, ["budget"]);
});

test("a reloaded window gets its playground back", () => {
  assert.ok(manifest.activationEvents.includes(`onWebviewPanel:${playgroundViewType}`));
  assert.ok(manifest.activationEvents.includes("onStartupFinished"));
});

test("icons and the bundled model lie where the code looks", () => {
  const icons = [
    ...commands.flatMap(({ icon }) => (typeof icon === "string" ? [] : Object.values(icon ?? {}))),
    ...contributes.viewsContainers.activitybar.map(({ icon }) => icon),
    ...Object.values(contributes.views).flatMap((views) => views.map(({ icon }) => icon)),
  ];
  for (const path of [...icons, ...bundledModelFolders(".")]) assert.ok(existsSync(path), path);
});
