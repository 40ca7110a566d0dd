/** What a prompt takes in every way a backend can read it: each policy with each cache format, and the one that is chosen. */
import type { MatmulPrecision, ModelSpec, WeightFormat } from "../api.ts";
import { formatAttention } from "../attention/policy.ts";
import { F32_CACHE, WHOLE } from "../attention/wholeOnly.ts";
import { EngineError, plainError } from "../errors.ts";
import { formatKvFormats } from "../kv-cache/kvFormats.ts";
import { resolveRope } from "../position/choose.ts";
import type { AttentionTable, AttentionTableRequest, MeasuredRates, PlanDevice, PlannedWay } from "./api.ts";
import { everyWay, obstacleTo, type Way } from "./ways.ts";
import type { MeasureRequest } from "./measure.ts";
import { planFor } from "./plan.ts";
import { kernelOf } from "./time.ts";
import { type FormatOf, weightsInWasm, weightsOnDevice } from "./weightBytes.ts";

/** A model that is open on a backend. */
export interface OpenModel {
  spec: ModelSpec;
  formatOf: FormatOf;
  weightFormat: WeightFormat;
  products?: MatmulPrecision | undefined;
  device: PlanDevice;
  measure: (request: MeasureRequest) => Promise<MeasuredRates>;
}

/**
 * The table for a prompt; `measured` keeps rates from one table to the next. Where the backend cannot be measured there are no times,
 * and `timeBecause` says why. Throws `aborted`, and what `resolveRope` throws.
 */
export async function attentionTable(
  model: OpenModel,
  request: AttentionTableRequest,
  measured: RateKeeper,
  signal: AbortSignal,
): Promise<AttentionTable> {
  const { spec, device } = model;
  const { tokens, rope, attention, kv } = request;
  const asked: Way = { attention, kv };
  // What this backend does not do is read as it would be without that.
  const chosen = obstacleTo(asked, spec, device.backend) === undefined ? asked : { attention: WHOLE, kv: F32_CACHE };
  const ways = request.only === "chosen" ? [] : everyWay(spec, device.backend, attention);
  const time = await measured.rates(model, [chosen, ...ways], signal);
  const { formatOf, weightFormat } = model;
  const weights = (device.backend === "ort" ? weightsInWasm : weightsOnDevice)(spec, formatOf, weightFormat);
  const planned = (way: Way): PlannedWay => {
    const { bands, copies } = resolveRope(rope, spec, tokens, tokens, way.attention).plan;
    const positions = { bands: bands.length, copies: copies.length };
    return {
      attention: formatAttention(way.attention),
      kv: formatKvFormats(way.kv),
      plan: planFor({ spec, tokens, weights, positions, device, rates: time.rates, ...way }),
    };
  };
  return { tokens, chosen: planned(chosen), ways: ways.map(planned), timeBecause: time.because };
}

/** Rates are measured once for each backend and way to attend. */
export class RateKeeper {
  private readonly kept = new Map<string, MeasuredRates>();

  async rates(
    model: OpenModel,
    ways: readonly Way[],
    signal: AbortSignal,
  ): Promise<{ rates: MeasuredRates | undefined; because: string }> {
    const kinds = new Map(
      ways.map(({ attention, kv }) => {
        const kernel = kernelOf(attention.policy);
        return [`${kernel} ${formatKvFormats(kv)}`, { kernel, kv }];
      }),
    );
    const all = [...kinds.values()];
    try {
      return toldRates(await this.measured(model, all, signal));
    } catch (error) {
      if (EngineError.is(error, "aborted")) throw error;
      return this.plainest(model, all, error, signal);
    }
  }

  /** Without the kernels that not every device has. */
  private async plainest(
    model: OpenModel,
    all: MeasureRequest["attention"],
    because: unknown,
    signal: AbortSignal,
  ): Promise<{ rates: MeasuredRates | undefined; because: string }> {
    const { message } = plainError(because);
    const flash = all.filter(({ kernel }) => kernel === "flash");
    if (flash.length === all.length) return { rates: undefined, because: `not measured: ${message}` };
    try {
      const told = toldRates(await this.measured(model, flash, signal));
      return { ...told, because: `${told.because}, others not: ${message}` };
    } catch (error) {
      if (EngineError.is(error, "aborted")) throw error;
      return { rates: undefined, because: `not measured: ${plainError(error).message}` };
    }
  }

  private async measured(
    { spec, formatOf, weightFormat, products, device, measure }: OpenModel,
    attention: MeasureRequest["attention"],
    signal: AbortSignal,
  ): Promise<MeasuredRates> {
    const key = [device.backend, ...attention.map(({ kernel, kv }) => `${kernel} ${formatKvFormats(kv)}`)].join(" ");
    const rates = this.kept.get(key) ?? (await measure({ spec, formatOf, weightFormat, products, attention, signal }));
    this.kept.set(key, rates);
    return rates;
  }
}

function toldRates(rates: MeasuredRates): { rates: MeasuredRates; because: string } {
  return { rates, because: `as measured on ${rates.device} in ${(rates.elapsedMs / 1000).toFixed(1)} s` };
}
