import * as vscode from "vscode";
import { hubOfflineSetting, hubUrlSetting, strictSslSetting } from "../config.ts";
import type { Hub } from "../hub/hub.ts";
import { pause } from "../hub/retry.ts";

const idleMs = 30_000;

/** The hub as the settings have it now, with the token of its address. Throws `bad-argument` for an address without sense. */
export async function readHub(secrets: vscode.SecretStorage): Promise<Hub> {
  const url = hubUrlSetting();
  return {
    url,
    token: await secrets.get(tokenKey(url)),
    offline: hubOfflineSetting(),
    strictSsl: strictSslSetting(),
    idleMs,
    sleep: pause,
  };
}

/** Asks for a token and keeps it in VS Code's secret storage; an empty one removes it. A text as argument is not asked for. */
export async function setHubToken(secrets: vscode.SecretStorage, argument: unknown): Promise<boolean> {
  const url = hubUrlSetting();
  const token = typeof argument === "string" ? argument : await inputToken(url, (await secrets.get(tokenKey(url))) !== undefined);
  if (token === undefined) return false;
  if (token.trim() === "") await secrets.delete(tokenKey(url));
  else await secrets.store(tokenKey(url), token.trim());
  const what = token.trim() === "" ? "removed" : "stored";
  void vscode.window.showInformationMessage(`Long Context: the token for ${url} is ${what}.`);
  return true;
}

/** A token belongs to one hub: another address in the settings must not get it. */
function tokenKey(url: string): string {
  return `hubToken:${url}`;
}

function inputToken(url: string, exists: boolean): Thenable<string | undefined> {
  return vscode.window.showInputBox({
    title: "Long Context: Set Hub Token",
    prompt: `Access token for ${url}; it is kept in VS Code's secret storage and sent to no other address. Empty removes it.`,
    placeHolder: exists ? "a token is set; type another one, or nothing to remove it" : "hf_…",
    password: true,
    ignoreFocusOut: true,
    validateInput: (value) => (/^[\x21-\x7e]*$/.test(value.trim()) ? undefined : "A token has no blanks or special characters."),
  });
}
