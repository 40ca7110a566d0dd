/**
 * What a recurrent model remembers: per layer a few arrays whose size does not depend on how many tokens it has read. All backends keep
 * them in the same order and layout, so that a snapshot of one can be restored by another.
 */
import type { Mamba2Spec, MambaSpec, RecurrentSpec } from "../api.ts";
import type { Reals } from "../position/rope.ts";
import { convWidth } from "./weights.ts";

/** Mamba: C convolved channels, K taps. */
export interface ScanState {
  /** Inputs of the convolution for the last K - 1 tokens, oldest first, [K - 1, C]; zeros before the first token. */
  tail: Reals;
  /** [I, N] of Mamba; [H, P, N] of Mamba-2. */
  scan: Reals;
}

export interface WkvState {
  /** Normed input of the time mix for the last token, [E]; zeros before the first. */
  attentionInput: Reals;
  /** The same of the channel mix. */
  mlpInput: Reals;
  /** [H, P values, P keys] */
  wkv: Reals;
}

/** Numbers of each part of one layer's state, in the order of `stateParts`. */
export function statePartSizes(spec: RecurrentSpec): readonly number[] {
  switch (spec.kind) {
    case "mamba":
      return [(spec.convKernel - 1) * spec.innerSize, spec.innerSize * spec.stateSize];
    case "mamba2":
      return [(spec.convKernel - 1) * convWidth(spec), spec.headCount * spec.headDim * spec.stateSize];
    case "rwkv7":
      return [spec.hiddenSize, spec.hiddenSize, spec.headCount * spec.headDim ** 2];
  }
}

/** Numbers of the whole state: all layers, and the final normed state [E] of the last token, from which its logits follow. */
export function stateFloats(spec: RecurrentSpec): number {
  return spec.layerCount * statePartSizes(spec).reduce((sum, size) => sum + size, 0) + spec.hiddenSize;
}

export function emptyScanStates(spec: MambaSpec | Mamba2Spec, alloc: (length: number) => Reals): ScanState[] {
  const [tail = 0, scan = 0] = statePartSizes(spec);
  return Array.from({ length: spec.layerCount }, () => ({ tail: alloc(tail), scan: alloc(scan) }));
}

export function emptyWkvStates(spec: RecurrentSpec, alloc: (length: number) => Reals): WkvState[] {
  const [input = 0, , wkv = 0] = statePartSizes(spec);
  return Array.from({ length: spec.layerCount }, () => ({
    attentionInput: alloc(input),
    mlpInput: alloc(input),
    wkv: alloc(wkv),
  }));
}

/** The arrays of a state themselves, layer by layer. */
export function stateParts(layers: readonly (ScanState | WkvState)[]): Reals[] {
  return layers.flatMap((layer) =>
    "scan" in layer ? [layer.tail, layer.scan] : [layer.attentionInput, layer.mlpInput, layer.wkv],
  );
}
