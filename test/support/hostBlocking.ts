/** How long one piece of code keeps this process from everything else: longest unbroken run of profiler samples with it on the stack. */
import { Session } from "node:inspector/promises";

export interface Blocking {
  /** Longest stretch in milliseconds, and the function that was innermost of ours for most of it. */
  longestMs: number;
  where: string;
  /** All time in that code. */
  totalMs: number;
}

const sampleMicroseconds = 250;

/** Profiles this process while something runs; `file` is the end of the url of the code in question. */
export async function blockingOf(file: string, run: () => Promise<unknown>): Promise<Blocking> {
  const session = new Session();
  session.connect();
  try {
    await session.post("Profiler.enable");
    await session.post("Profiler.setSamplingInterval", { interval: sampleMicroseconds });
    await session.post("Profiler.start");
    await run();
    const { profile } = await session.post("Profiler.stop");
    return longestStretch(profile, file);
  } finally {
    session.disconnect();
  }
}

interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number }; children?: number[] }[];
  samples?: number[];
  timeDeltas?: number[];
}

function longestStretch({ nodes, samples = [], timeDeltas = [] }: Profile, file: string): Blocking {
  const owner = new Map<number, string>();
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const visit = (id: number, above: string | undefined): void => {
    const node = byId.get(id);
    if (!node) return;
    const { functionName, url, lineNumber } = node.callFrame;
    const own = url.endsWith(file) ? `${functionName || "(anonymous)"}:${lineNumber + 1}` : above;
    if (own !== undefined) owner.set(id, own);
    for (const child of node.children ?? []) visit(child, own);
  };
  const [root] = nodes;
  if (root) visit(root.id, undefined);
  const blocking: Blocking = { longestMs: 0, where: "", totalMs: 0 };
  let stretch = 0;
  let within = new Map<string, number>();
  samples.forEach((sample, i) => {
    const where = owner.get(sample);
    // A sample stands for the time up to the next one.
    const ms = (timeDeltas[i + 1] ?? 0) / 1000;
    if (where === undefined) {
      stretch = 0;
      within = new Map();
      return;
    }
    stretch += ms;
    blocking.totalMs += ms;
    within.set(where, (within.get(where) ?? 0) + ms);
    if (stretch <= blocking.longestMs) return;
    blocking.longestMs = stretch;
    blocking.where = [...within].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "";
  });
  return blocking;
}
