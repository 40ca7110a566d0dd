import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { plainError } from "../../engine/errors.ts";
import { type CountedEntry, isUntitledPath } from "./budgetTable.ts";
import type { CountPool } from "./countPool.ts";
import { countText, type TextCounts } from "./countText.ts";
import { decodeTextFile } from "./textFile.ts";

export interface OpenEditorsOptions {
  pool(): CountPool;
  /** Path in the workspace; undefined outside of it. */
  pathOf(absolute: string): string | undefined;
  /** The entry that the table has for a path. */
  entryOf(path: string): CountedEntry | undefined;
  put(entry: CountedEntry): void;
  remove(path: string): void;
  /** The table changed. */
  onChange(): void;
  log(message: string): void;
}

interface Editor {
  readonly uri: string;
  text: string;
  /** Differs from the file; an editor without a file always does. */
  unsaved: boolean;
  changedMs: number;
  counted: (TextCounts & { text: string }) | undefined;
  /** Settles when the text of now is counted. */
  counting: Promise<void> | undefined;
}

/** Editors with changes that are not saved count as they stand in memory, in place of their files. */
export class OpenEditors {
  private readonly options: OpenEditorsOptions;
  private readonly editors = new Map<string, Editor>();
  /** What is on disk where the table shows an editor instead, by path. */
  private readonly hidden = new Map<string, CountedEntry>();

  constructor(options: OpenEditorsOptions) {
    this.options = options;
  }

  async open(uri: string, text: string): Promise<void> {
    const untitled = isUntitledPath(uri);
    const editor: Editor = { uri, text, unsaved: untitled, changedMs: Date.now(), counted: undefined, counting: undefined };
    this.editors.set(uri, editor);
    // An editor that was restored with its changes says nothing about them.
    if (!untitled && this.pathOf(editor) !== undefined) editor.unsaved ||= await differsFromFile(uri, text);
    if (this.editors.get(uri) === editor && editor.unsaved) await this.count(editor);
  }

  async change(uri: string, text: string): Promise<void> {
    const editor = this.editors.get(uri);
    if (!editor || editor.text === text) return;
    editor.text = text;
    editor.unsaved = true;
    editor.changedMs = Date.now();
    await this.count(editor);
  }

  /** The file has the text of the editor now; who reads the file again calls `over`. */
  save(uri: string): void {
    const editor = this.editors.get(uri);
    if (editor) editor.unsaved = isUntitledPath(uri);
  }

  close(uri: string): void {
    const editor = this.editors.get(uri);
    if (!editor || !this.editors.delete(uri)) return;
    const path = this.pathOf(editor);
    if (path === undefined) return;
    const file = this.hidden.get(path);
    this.hidden.delete(path);
    if (file) this.options.put(file);
    else if (isUntitledPath(uri)) this.options.remove(path);
    else return;
    this.options.onChange();
  }

  /** What the table shows for a file: the editor over it, where there is one with changes. */
  over(file: CountedEntry): CountedEntry {
    const editor = this.unsavedAt(file.path);
    if (!editor?.counted) {
      this.hidden.delete(file.path);
      return file;
    }
    this.hidden.set(file.path, file);
    return entryOf(editor, editor.counted, file);
  }

  /** The file behind an entry of the table; undefined for an editor without one. */
  onDisk(entry: CountedEntry): CountedEntry | undefined {
    return this.hidden.get(entry.path) ?? (isUntitledPath(entry.path) ? undefined : entry);
  }

  /** The path is no counted file any more. */
  forget(path: string): void {
    this.hidden.delete(path);
  }

  /** Puts editors without files into a table that was cleared. */
  putBack(): void {
    for (const editor of this.editors.values()) {
      const path = this.pathOf(editor);
      if (path !== undefined && isUntitledPath(path) && editor.counted)
        this.options.put(entryOf(editor, editor.counted, untitledFile(path)));
    }
  }

  /** Text of a path as it stands in an editor, where that is what counts. */
  textAt(path: string): string | undefined {
    return this.unsavedAt(path)?.counted?.text;
  }

  /** Counts every unsaved editor again, with another tokenizer. */
  async recount(): Promise<void> {
    const unsaved = [...this.editors.values()].filter((editor) => editor.unsaved);
    for (const editor of unsaved) editor.counted = undefined;
    await Promise.all(unsaved.map((editor) => this.count(editor)));
  }

  async settled(): Promise<void> {
    for (const { counting } of [...this.editors.values()]) await counting;
  }

  private unsavedAt(path: string): Editor | undefined {
    for (const editor of this.editors.values()) if (editor.unsaved && this.pathOf(editor) === path) return editor;
    return undefined;
  }

  private pathOf({ uri }: Editor): string | undefined {
    if (isUntitledPath(uri)) return uri;
    return uri.startsWith("file:") ? this.options.pathOf(fileURLToPath(uri)) : undefined;
  }

  /** Counts the text of now; what is typed meanwhile is counted once it is through. */
  private count(editor: Editor): Promise<void> {
    editor.counting ??= this.countUntilCurrent(editor)
      .catch((error: unknown) => {
        const { code, message } = plainError(error);
        if (code !== "aborted") this.options.log(`${editor.uri} is not counted as it stands in the editor: ${message}`);
      })
      .finally(() => (editor.counting = undefined));
    return editor.counting;
  }

  private async countUntilCurrent(editor: Editor): Promise<void> {
    const path = this.pathOf(editor);
    if (path === undefined) return;
    while (editor.counted?.text !== editor.text) {
      const { text } = editor;
      editor.counted = { text, ...(await countText(this.options.pool(), path, text)) };
      if (this.editors.get(editor.uri) === editor && editor.unsaved) this.show(path, editor, editor.counted);
    }
  }

  private show(path: string, editor: Editor, counted: NonNullable<Editor["counted"]>): void {
    const file = isUntitledPath(path) ? untitledFile(path) : (this.hidden.get(path) ?? this.options.entryOf(path));
    // The file is ignored, left out, or not on disk yet: the editor changes nothing about that.
    if (!file) return;
    if (!isUntitledPath(path)) this.hidden.set(path, file);
    this.options.put(entryOf(editor, counted, file));
    this.options.onChange();
  }
}

function entryOf({ text, changedMs }: Editor, counted: NonNullable<Editor["counted"]>, file: CountedEntry): CountedEntry {
  // Every change was undone: VS Code tells that as one more change.
  if (counted.hash === file.hash) return file;
  const message = "counted as it stands in the editor; it is not saved";
  return {
    ...file,
    hash: counted.hash,
    tokens: counted.tokens,
    bodyTokens: counted.bodyTokens,
    nameTokens: counted.nameTokens,
    sizeBytes: Buffer.byteLength(text),
    mtimeMs: changedMs,
    marks: [...file.marks, { kind: "unsaved", message }],
    approximate: false,
    outline: undefined,
  };
}

function untitledFile(path: string): CountedEntry {
  const nothing = { sizeBytes: 0, mtimeMs: 0, hash: "", tokens: 0, bodyTokens: 0, nameTokens: 0 };
  return { path, kind: "file", absolute: "", ...nothing, marks: [], approximate: false, racy: true };
}

/** Line ends and a byte order mark are the editor's own business. */
async function differsFromFile(uri: string, text: string): Promise<boolean> {
  const bytes = await readFile(fileURLToPath(uri)).catch(() => undefined);
  const file = bytes && decodeTextFile(bytes, uri);
  if (!file || !("utf8" in file)) return false;
  const plain = (some: string): string => some.replaceAll("\r\n", "\n").replace(/^\uFEFF/, "");
  return plain(new TextDecoder("utf-8").decode(file.utf8)) !== plain(text);
}
