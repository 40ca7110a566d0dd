/** Kept prefixes for the worker: what is small goes through the host, whole pages through the port that it opened for this page. */
import { EngineError } from "../engine/errors.ts";
import type { PrefixName } from "../engine/kv-cache/api.ts";
import type { Channel, Handlers } from "./protocol/channel.ts";
import type { HostCalls } from "./protocol/panel.ts";
import type { PageCalls } from "./protocol/worker.ts";

type PrefixCalls = Pick<PageCalls, "prefix/list" | "prefix/read" | "prefix/write" | "prefix/touch" | "prefix/delete">;

/** What the host is asked of kept prefixes. */
export type HostPrefixCalls = Pick<HostCalls, "prefix/open" | "prefix/list" | "prefix/touch" | "prefix/delete">;

/** Answers the worker. The port is asked for once, with the first list. */
export function prefixCalls(host: Pick<Channel<HostPrefixCalls, never, never>, "call">): Handlers<PrefixCalls> {
  let opening: Promise<string | undefined> | undefined;
  const base = (): Promise<string | undefined> =>
    (opening ??= host.call("prefix/open", { origin: location.origin }).then((opened) => opened.base));
  const address = async ({ root, page, key }: PrefixName): Promise<string> => `${await base()}/${root}/${page}/${key}`;

  return {
    "prefix/list": async (_, { signal }) =>
      (await base()) === undefined ? { entries: [], maxBytes: 0 } : host.call("prefix/list", {}, { signal }),
    "prefix/read": async (name, { signal }) => {
      const response = await reached(fetch(await address(name), { signal }));
      if (response.status === 404) return {};
      if (!response.ok) throw refused(String(response.status));
      return { bytes: await response.arrayBuffer() };
    },
    "prefix/write": async ({ name, lastUsed, bytes }, { signal }) => {
      // Chromium sends a blob more than ten times faster than a buffer.
      const body = new Blob([bytes]);
      const response = await reached(fetch(`${await address(name)}/${lastUsed}`, { method: "PUT", body, signal }));
      if (!response.ok) throw refused((await response.text()) || String(response.status));
      return {};
    },
    "prefix/touch": (used, { signal }) => host.call("prefix/touch", used, { signal }),
    "prefix/delete": (named, { signal }) => host.call("prefix/delete", named, { signal }),
  };
}

async function reached(answer: Promise<Response>): Promise<Response> {
  try {
    return await answer;
  } catch (error) {
    // What a connection that failed throws has no cause in it.
    if (error instanceof TypeError) throw refused("no connection to the extension");
    throw error;
  }
}

function refused(because: string): EngineError {
  return new EngineError("storage-failed", `a kept prefix could not be reached: ${because}`, "look into the log");
}
