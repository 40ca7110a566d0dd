import type { Node } from "web-tree-sitter";
import { present } from "../nodes.ts";
import type { Language } from "../rules.ts";

const declaredNames = (node: Node): Node[] =>
  node.childrenForFieldName("declarator").flatMap((declarator) => present(declarator.childForFieldName("name")));

export const java: Language = {
  grammar: "java",
  rules: {
    line_comment: "comment",
    block_comment: "comment",
    package_declaration: { keep: "whole" },
    import_declaration: { keep: "whole" },
    module_declaration: { keep: "type", kind: "module" },
    class_declaration: { keep: "head", kind: "class", members: "type" },
    interface_declaration: { keep: "head", kind: "interface", members: "type" },
    annotation_type_declaration: { keep: "head", kind: "annotation", members: "type" },
    record_declaration: { keep: "head", kind: "record", members: "type" },
    enum_declaration: { keep: "head", kind: "enum", members: "type" },
    enum_constant: { keep: "head" },
    enum_body_declarations: "holds",
    method_declaration: { keep: "head", kind: "method" },
    constructor_declaration: { keep: "head", kind: "constructor" },
    compact_constructor_declaration: { keep: "head", kind: "constructor" },
    annotation_type_element_declaration: { keep: "type", kind: "method" },
    field_declaration: { keep: "value", kind: "field", names: declaredNames },
    constant_declaration: { keep: "value", kind: "constant", names: declaredNames },
  },
};
