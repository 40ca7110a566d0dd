import { asCount, asFields, asList, asText, isFields, unsupportedTokenizer } from "./fields.ts";

/**
 * Tokens the `post_processor` puts in front of a single text: a BOS for Llama, Gemma and Mistral, none for Qwen. What it puts
 * behind (the EOS of embedding models and T5) ends a text; here texts are parts of a prompt that goes on, so it is left out.
 */
export function readPrefixIds(json: unknown): number[] {
  if (json === undefined || json === null) return [];
  const fields = asFields(json, "post_processor");
  const type = asText(fields.type, "post_processor.type");
  switch (type) {
    case "ByteLevel":
      return [];
    case "Sequence":
      return asList(fields.processors, "post_processor.processors").flatMap(readPrefixIds);
    case "TemplateProcessing":
      return templatePrefix(
        asList(fields.single, "post_processor.single"),
        asFields(fields.special_tokens, "post_processor.special_tokens"),
      );
    case "BertProcessing":
    case "RobertaProcessing": {
      const [, id] = asList(fields.cls, "post_processor.cls");
      return [asCount(id, "post_processor.cls")];
    }
    default:
      throw unsupportedTokenizer(`the post-processor ${type}`);
  }
}

function templatePrefix(single: readonly unknown[], specialTokens: Readonly<Record<string, unknown>>): number[] {
  const ids: number[] = [];
  for (const part of single) {
    const special = asFields(part, "post_processor.single").SpecialToken;
    if (!isFields(special)) break;
    const name = asText(special.id, "post_processor.single");
    const token = asFields(specialTokens[name], `post_processor.special_tokens["${name}"]`);
    ids.push(...asList(token.ids, `post_processor.special_tokens["${name}"].ids`).map((id) => asCount(id, "post_processor id")));
  }
  return ids;
}
