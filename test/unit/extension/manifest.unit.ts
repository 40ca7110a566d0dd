import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { commandIds } from "../../../extension/commandIds.ts";
import { bundledModel } from "../../../extension/models/location.ts";
import { playgroundViewType } from "../../../extension/panel/viewType.ts";
import { backendSettings, settingIds } from "../../../extension/settings.ts";

interface Manifest {
  main: string;
  activationEvents: string[];
  capabilities: { untrustedWorkspaces: { supported: string; restrictedConfigurations: string[] } };
  contributes: {
    commands: { command: string; title: string; category: string; icon?: Record<string, string> }[];
    configuration: {
      properties: Record<string, { default: unknown; scope: string; enum?: string[]; enumDescriptions?: string[] }>;
    };
  };
}

const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Manifest;
const { commands, configuration } = manifest.contributes;

test("the commands of the manifest are the commands of the table", () => {
  assert.deepEqual(commands.map(({ command }) => command).sort(), Object.values(commandIds).sort());
  for (const { command, category } of commands) {
    assert.equal(category, command.includes(".debug.") ? "Long Context (debug)" : "Long Context", command);
  }
});

test("the settings of the manifest are the settings that are read", () => {
  assert.deepEqual(Object.keys(configuration.properties).sort(), Object.values(settingIds).sort());
  const backend = configuration.properties[settingIds.backend];
  assert.deepEqual(backend?.enum, [...backendSettings]);
  assert.equal(backend?.enumDescriptions?.length, backendSettings.length);
  assert.equal(backend?.default, "auto");
});

test("a workspace cannot say which model is loaded", () => {
  assert.equal(configuration.properties[settingIds.modelPath]?.scope, "machine");
  assert.deepEqual(manifest.capabilities.untrustedWorkspaces.restrictedConfigurations, [settingIds.modelPath]);
  assert.equal(manifest.capabilities.untrustedWorkspaces.supported, "limited");
});

test("a reloaded window gets its playground back", () => {
  assert.ok(manifest.activationEvents.includes(`onWebviewPanel:${playgroundViewType}`));
  assert.ok(manifest.activationEvents.includes("onStartupFinished"));
});

test("icons and the bundled model lie where the code looks", () => {
  const icons = commands.flatMap(({ icon }) => Object.values(icon ?? {}));
  for (const path of [...icons, bundledModel.join("/")]) assert.ok(existsSync(path), path);
});
