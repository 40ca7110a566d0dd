/** How the user wants a hub to be reached. */
export interface Hub {
  /** Address without a slash at its end, e.g. "https://huggingface.co". */
  readonly url: string;
  readonly token: string | undefined;
  /** Nothing is opened to the network. */
  readonly offline: boolean;
  /** Whether a certificate must be one that this machine trusts (`http.proxyStrictSSL`). */
  readonly strictSsl: boolean;
  /** Milliseconds without a byte after which a server counts as gone. */
  readonly idleMs: number;
  /** Waits between attempts; tests do not. Rejects when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

/** Address of a model's page, where licences are read and accepted. */
export function pageUrl(hub: Pick<Hub, "url">, repository: string): string {
  return `${hub.url}/${repository}`;
}
