/**
 * Where queries and keys stand: from a RopeScaling to a PositionPlan. An ordinary scaling is one band over all keys. Re-indexing splits the
 * keys of a query into bands, each with positions of its own:
 * Self-Extend (arXiv 2401.01325; G group, w window): distances below w as they are, the rest with query floor(m / G) + w - floor(w / G) and
 * key floor(n / G). ReRoPE: distances from w on are w, or w + (m - n - w) / leak. Dual chunk attention (arXiv 2402.17463; c chunk, s = c -
 * local): key n mod s; query m mod s in its own chunk, min(s + m mod s, c - 1) for the chunk before, c - 1 for older ones.
 */
import type { Band, DecoderSpec, LayerKind, ModelSpec, PositionPlan, Reindexing, RopeScaling, RopeTable } from "../api.ts";
import { EngineError } from "../errors.ts";
import { checkScaling, isReindexing, ownFrequencies, ropeBase, ropeTable } from "./scaling.ts";

/** The plan of a request of `lengthTokens` tokens under `scaling`. Throws `rope-invalid` for a scaling that does not fit the model. */
export function positionPlan(scaling: RopeScaling, spec: ModelSpec, lengthTokens: number): PositionPlan {
  if (spec.kind !== "decoder" || spec.rotaryDim === 0) return unrotated(scaling);
  const base = ropeBase(spec);
  checkScaling(scaling, base);
  const frequencies = isReindexing(scaling) ? ownFrequencies(spec) : scaling;
  const table = ropeTable(frequencies, base, lengthTokens);
  const temperature = queryTemperature(spec);
  if (!isReindexing(scaling)) {
    return { key: table.key, table, ...ONE_BAND, queryScale: temperature };
  }
  const ownScale = reindexedScale(scaling, lengthTokens);
  return {
    // Dual chunk's query scale depends on the length of the request.
    key: `${table.key}|${JSON.stringify(scaling)}|${ownScale.key}`,
    table,
    ...reindexed(scaling),
    queryScale: (position) => temperature(position) * ownScale.of(position),
  };
}

/**
 * The bands of a plan for one kind of layer, cut to its window; a band may be empty. Layers of rotation "local" and "none" have one, unless
 * the plan is for every layer.
 */
export function layerBands(plan: PositionPlan, layer: LayerKind): readonly Band[] {
  const bands = layer.rotation === "main" || plan.everyLayer === true ? plan.bands : ONE_BAND.bands;
  const { window } = layer;
  if (window === undefined) return bands;
  return bands.map((band) => ({
    ...band,
    keys: (position) => {
      const [from, to] = band.keys(position);
      return [Math.min(to, Math.max(from, position - window + 1)), to] as const;
    },
  }));
}

const same = (position: number): number => position;

const ONE_BAND: Pick<PositionPlan, "bands" | "copies"> = {
  bands: [{ keys: (position) => [0, position + 1], queryPosition: same, copy: 0 }],
  copies: [same],
};

/** A model without rotation has nothing to scale. */
function unrotated(scaling: RopeScaling): PositionPlan {
  if (scaling.kind !== "none") {
    const message = `${scaling.kind}: this model has no rotation that could be scaled`;
    throw new EngineError("rope-invalid", message, "use the setting model");
  }
  const table: RopeTable = { invFreq: new Float64Array(0), attentionFactor: 1, key: "none" };
  return { key: "none", table, ...ONE_BAND, queryScale: () => 1 };
}

function queryTemperature({ queryTemperature: temperature }: DecoderSpec): (position: number) => number {
  if (temperature === undefined) return () => 1;
  const { beta, length } = temperature;
  return (position) => 1 + beta * Math.log(1 + Math.floor(position / length));
}

function reindexed(scheme: Reindexing): Pick<PositionPlan, "bands" | "copies"> {
  switch (scheme.kind) {
    case "self_extend": {
      const { group, window } = scheme;
      const shift = window - Math.floor(window / group);
      return nearAndFar(
        window,
        (position) => Math.floor(position / group) + shift,
        (position) => Math.floor(position / group),
      );
    }
    case "rerope": {
      const { window, leak } = scheme;
      if (leak === undefined) {
        return nearAndFar(
          window,
          () => window,
          () => 0,
        );
      }
      return nearAndFar(
        window,
        (position) => window + (position - window) / leak,
        (position) => position / leak,
      );
    }
    case "dual_chunk":
      return dualChunk(scheme.chunkSize, scheme.chunkSize - scheme.localSize);
  }
}

/** Keys closer than `window` with their own positions, the others with `farQuery` and `farKey`. */
function nearAndFar(
  window: number,
  farQuery: (position: number) => number,
  farKey: (position: number) => number,
): Pick<PositionPlan, "bands" | "copies"> {
  const border = (position: number): number => Math.max(0, position - window + 1);
  return {
    bands: [
      { keys: (position) => [border(position), position + 1], queryPosition: same, copy: 0 },
      { keys: (position) => [0, border(position)], queryPosition: farQuery, copy: 1 },
    ],
    copies: [same, farKey],
  };
}

function dualChunk(chunkSize: number, stride: number): Pick<PositionPlan, "bands" | "copies"> {
  const inChunk = (position: number): number => position % stride;
  const chunkStart = (position: number): number => position - inChunk(position);
  return {
    bands: [
      { keys: (position) => [chunkStart(position), position + 1], queryPosition: inChunk, copy: 0 },
      {
        keys: (position) => [Math.max(0, chunkStart(position) - stride), chunkStart(position)],
        queryPosition: (position) => Math.min(stride + inChunk(position), chunkSize - 1),
        copy: 0,
      },
      {
        keys: (position) => [0, Math.max(0, chunkStart(position) - stride)],
        queryPosition: () => chunkSize - 1,
        copy: 0,
      },
    ],
    copies: [inChunk],
  };
}

/** Factor on queries that the scheme itself asks for. */
function reindexedScale(scheme: Reindexing, lengthTokens: number): { key: string; of(position: number): number } {
  if (scheme.kind === "self_extend" && scheme.logBase !== undefined) {
    const logBase = Math.log(scheme.logBase);
    return { key: "", of: (position) => Math.max(1, Math.log(position + 1) / logBase) };
  }
  if (scheme.kind === "dual_chunk" && scheme.originalContext !== undefined) {
    const factor = Math.max(1, 0.1 * Math.log(lengthTokens / scheme.originalContext) + 1);
    return { key: `${factor}`, of: () => factor };
  }
  return { key: "", of: () => 1 };
}
