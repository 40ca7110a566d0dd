/** Names of files come from a server, and become paths on this machine. */
import { join } from "node:path";
import { EngineError } from "../../engine/errors.ts";

/** What no path of a repository may hold: it would lead out of the folder, or mean something else on some machine. */
const UNSAFE: readonly (readonly [RegExp, string])[] = [
  [/^$/, "it is empty"],
  [/[\\]/, "it has a backslash"],
  [/[\u0000-\u001f\u007f]/, "it has a control character"],
  [/^\/|^[A-Za-z]:/, "it is an absolute path"],
  [/(^|\/)\.{1,2}(\/|$)/, "it leads to another folder"],
  [/\/\/|\/$/, "it has an empty part"],
];

/** Names that Windows keeps for devices, and characters it has another use for. */
const UNSTORABLE = /(^|\/)(con|prn|aux|nul|com\d|lpt\d)(\.[^/]*)?(\/|$)|[<>:"|?*]|[. ](\/|$)/i;
const LONGEST = 255;

/** Throws `hub-refused` where a name of a repository's file is one that an honest hub does not send. */
export function checkFileName(name: string): void {
  const because = UNSAFE.find(([pattern]) => pattern.test(name))?.[1];
  if (because !== undefined) throw refused(name, because);
}

/** Path of a repository's file below `folder`; throws `hub-refused` for a name that cannot be stored on every machine. */
export function storedPath(folder: string, name: string): string {
  checkFileName(name);
  if (UNSTORABLE.test(name)) throw refused(name, "it cannot be stored on every kind of machine");
  if (name.split("/").some((part) => part.length > LONGEST)) throw refused(name, "it is too long");
  return join(folder, ...name.split("/"));
}

function refused(name: string, because: string): EngineError {
  const shown = JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
  return new EngineError(
    "hub-refused",
    `the hub names a file ${shown}, which is not downloaded: ${because}`,
    "choose another repository",
    {
      file: shown,
    },
  );
}
