import type { KvFormat } from "../attention/api.ts";
import { kernel } from "../gpu/shader.ts";
import { putSources } from "./cachedRows.ts";
import source from "./kv_put.wgsl";

/** The kernel that writes rows of this format. */
export const kvPut = (format: KvFormat) =>
  kernel({
    name: "kv_put",
    source: putSources[format] + source,
    consts: ["HEAD_DIM4", "PAGE_TOKENS", "ROW"],
    params: { kvHeads: "u32", row4: "u32", start4: "u32", slotsAt: "u32" },
    buffers: { source: "read", lists: "read", cache: "read_write" },
  });
