import type { LoadedModel } from "../models/load.ts";
import { BodyCache } from "../pack/body.ts";
import type { AskModel } from "./ask.ts";

/** What questions need of a model beside its weights. Throws what making the tokenizer throws. */
export function askModelOf(loaded: LoadedModel): AskModel {
  const tokenizer = loaded.tokenizer();
  const { spec } = loaded;
  return {
    spec,
    tokenizer,
    chatTemplate:
      loaded.chatTemplate === undefined
        ? undefined
        : { source: loaded.chatTemplate, bosToken: loaded.bosToken ?? "", eosToken: loaded.eosToken ?? "" },
    stopIds: new Set([...spec.eosTokenIds, ...ownEos(loaded, tokenizer.tokenId(loaded.eosToken ?? ""))]),
    attendedPrecision: loaded.attendedPrecision,
    bodies: new BodyCache(),
  };
}

/** Chat models end a turn with the eos of tokenizer_config.json, which config.json may not list. */
function ownEos(loaded: LoadedModel, id: number | undefined): number[] {
  return loaded.eosToken === undefined || id === undefined ? [] : [id];
}
