/** Programs of an installed browser-hosted VS Code. */
export interface Host {
  node: string;
  entry: string;
}

export interface RunningHost {
  url: string;
  /** Settles when the server process is gone. */
  ended: Promise<unknown>;
  stop(): Promise<void>;
}

export interface StartOptions {
  port: number;
  dataDir: string;
  flags?: readonly string[];
  env?: Readonly<Record<string, string>>;
  trust?: boolean;
}

export function installHost(root: string, say?: (message: string) => void): Host;
export function installVsix(host: Host, dataDir: string, vsix: string): void;
export function startHost(host: Host, options: StartOptions): Promise<RunningHost>;
export function freePort(): Promise<number>;
export function npm(args: readonly string[], cwd: string): void;
