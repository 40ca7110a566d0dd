import type { Language, Visit } from "../rules.ts";

/** `impl Trait for Type`; the names were given elsewhere. */
const implementation: Visit = (node, walk, place) => {
  const [trait, type] = ["trait", "type"].map((field) => node.childForFieldName(field));
  const name = [trait, type].flatMap((it) => (it ? [walk.textOf(it)] : [])).join(" for ");
  const body = node.childForFieldName("body");
  walk.declare(node, { keep: "head", kind: "impl", names: [name], body, members: "type", defines: false }, place);
};

export const rust: Language = {
  grammar: "rust",
  rules: {
    line_comment: "comment",
    block_comment: "comment",
    attribute_item: "attribute",
    use_declaration: { keep: "whole" },
    extern_crate_declaration: { keep: "whole" },
    mod_item: { keep: "head", kind: "module", members: "module" },
    function_item: { keep: "head", kind: ["function", "method"] },
    function_signature_item: { keep: "head", kind: ["function", "method"] },
    struct_item: { keep: "head", kind: "struct", members: "type" },
    union_item: { keep: "head", kind: "union", members: "type" },
    enum_item: { keep: "head", kind: "enum", members: "type" },
    trait_item: { keep: "head", kind: "trait", members: "type" },
    impl_item: implementation,
    foreign_mod_item: { keep: "head", members: "module" },
    field_declaration: { keep: "value", kind: "field" },
    enum_variant: { keep: "type" },
    const_item: { keep: "value", kind: "constant" },
    static_item: { keep: "value", kind: "static" },
    type_item: { keep: "type", kind: "type" },
    associated_type: { keep: "type", kind: "type" },
    macro_definition: { keep: "line", kind: "macro" },
  },
};
