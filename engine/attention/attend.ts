import type { DecodeParts, Operations, PagedLayer, Span } from "../kernels/ops.ts";

/** Attention of a chunk over everything cached: one token goes by split-K, more by the tiled kernel. out [tokens, H, D], lse [positions, H]. */
export function attend(op: Operations, qkv: GPUBuffer, layer: PagedLayer, into: Attended, span: Span): void {
  if (span.tokens === 1) op.attendDecode(qkv, layer, into.parts, into.out, into.lse, span.start);
  else op.attendPrefill(qkv, layer, into.out, into.lse, span);
}

export interface Attended {
  out: GPUBuffer;
  lse: GPUBuffer;
  parts: DecodeParts;
}
