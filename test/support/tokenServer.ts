/** The token server as a process of its own, over the channel the extension host uses: its reactions, times and memory. */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { pathToFileURL } from "node:url";
import { budgetNotification, type ServerCalls, type ServerOptions } from "../../extension/server/requests.ts";
import { serverArguments, serverFlags } from "../../extension/server/serverProcess.ts";
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";

/** A snapshot and when it came, in milliseconds since `initialized` was sent. */
export interface Published {
  atMs: number;
  budget: BudgetSnapshot;
}

export class TokenServer {
  readonly published: Published[] = [];
  readonly log: string[] = [];
  /** Of every progress that the server wanted to show. */
  readonly progressTokens: (string | number)[] = [];
  /** Milliseconds from the start of the process to its answer to `initialize`. */
  startMs = 0;
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  private readonly listeners = new Set<() => void>();
  private beganMs = 0;
  private lastId = 0;

  private constructor(bundle: string, storageFolder: string) {
    this.child = fork(bundle, ["--node-ipc", ...serverArguments(storageFolder)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      execArgv: [...serverFlags],
    });
    this.child.on("message", (message: Message) => this.onMessage(message));
  }

  static async start(bundle: string, folders: readonly string[], options: ServerOptions): Promise<TokenServer> {
    const began = performance.now();
    const server = new TokenServer(bundle, options.storageFolder);
    const workspaceFolders = folders.map((folder) => ({ name: basename(folder), uri: pathToFileURL(folder).href }));
    await server.request("initialize", {
      processId: process.pid,
      rootUri: null,
      capabilities: { window: { workDoneProgress: true } },
      workspaceFolders,
      initializationOptions: options,
    });
    server.startMs = performance.now() - began;
    server.beganMs = performance.now();
    server.notify("initialized", {});
    return server;
  }

  get last(): BudgetSnapshot | undefined {
    return this.published.at(-1)?.budget;
  }

  /** Milliseconds since `initialized`. */
  get nowMs(): number {
    return performance.now() - this.beganMs;
  }

  call<Name extends keyof ServerCalls>(name: Name, params: ServerCalls[Name]["params"]): Promise<ServerCalls[Name]["result"]> {
    return this.request(name, params) as Promise<ServerCalls[Name]["result"]>;
  }

  notify(method: string, params: unknown): void {
    this.child.send({ jsonrpc: "2.0", method, params });
  }

  /** The first snapshot from now on, or of those that came, for which `wanted` holds. */
  async until(wanted: (budget: BudgetSnapshot) => boolean, from = 0): Promise<Published> {
    for (;;) {
      const found = this.published.slice(from).find(({ budget }) => wanted(budget));
      if (found) return found;
      await new Promise<void>((resolve) => {
        const listener = (): void => {
          this.listeners.delete(listener);
          resolve();
        };
        this.listeners.add(listener);
      });
    }
  }

  /** Largest resident memory so far in MiB, as Linux keeps it; undefined elsewhere. */
  peakMiB(): number | undefined {
    try {
      const status = readFileSync(`/proc/${this.child.pid}/status`, "utf8");
      return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
    } catch {
      return undefined;
    }
  }

  async stop(): Promise<void> {
    await this.request("shutdown", undefined);
    const ended = this.ended();
    this.notify("exit", undefined);
    await ended;
  }

  /** As a crash does it: nothing is written. */
  async kill(): Promise<void> {
    const ended = this.ended();
    this.child.kill("SIGKILL");
    await ended;
  }

  private ended(): Promise<void> {
    return new Promise((resolve) => this.child.once("exit", () => resolve()));
  }

  private request(method: string, params: unknown): Promise<unknown> {
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.child.send({ jsonrpc: "2.0", id, method, params });
    });
  }

  private onMessage({ id, method, params, result, error }: Message): void {
    if (method === budgetNotification) {
      this.published.push({ atMs: this.nowMs, budget: params as BudgetSnapshot });
      for (const listener of [...this.listeners]) listener();
    } else if (method === "window/logMessage") this.log.push((params as { message: string }).message);
    else if (method !== undefined && id !== undefined) {
      if (method === "window/workDoneProgress/create") this.progressTokens.push((params as { token: string | number }).token);
      this.child.send({ jsonrpc: "2.0", id, result: null });
    } else if (id !== undefined) {
      const call = this.waiting.get(id);
      assert.ok(call, `an answer to nothing: ${id}`);
      this.waiting.delete(id);
      if (error) call.reject(Object.assign(new Error(error.message), { data: error.data }));
      else call.resolve(result);
    }
  }
}

interface Message {
  id?: number;
  method?: string;
  params?: unknown;
  result?: unknown;
  error?: { message: string; data?: unknown };
}
