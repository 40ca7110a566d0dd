import type { Node } from "web-tree-sitter";
import { childOfType, childrenOfType, present } from "../nodes.ts";
import type { Language, Rule } from "../rules.ts";

const typeRule = (kind: string): Rule => ({ keep: "head", kind, members: "type" });

const variableNames = (node: Node): Node[] =>
  childrenOfType(childOfType(node, "variable_declaration"), "variable_declarator").flatMap((declarator) =>
    present(declarator.childForFieldName("name")),
  );

const accessors = (node: Node): Node | null => node.childForFieldName("accessors") ?? node.childForFieldName("value");

export const csharp: Language = {
  grammar: "c-sharp",
  rules: {
    comment: "comment",
    using_directive: { keep: "whole" },
    extern_alias_directive: { keep: "whole" },
    file_scoped_namespace_declaration: { keep: "whole" },
    namespace_declaration: { keep: "head", kind: "namespace", members: "module" },
    class_declaration: typeRule("class"),
    struct_declaration: typeRule("struct"),
    record_declaration: typeRule("record"),
    interface_declaration: typeRule("interface"),
    enum_declaration: { keep: "type", kind: "enum" },
    delegate_declaration: { keep: "type", kind: "delegate" },
    global_statement: "holds",
    local_function_statement: { keep: "head", kind: "function" },
    method_declaration: { keep: "head", kind: "method" },
    constructor_declaration: { keep: "head", kind: "constructor" },
    destructor_declaration: { keep: "head", kind: "destructor" },
    operator_declaration: { keep: "head" },
    conversion_operator_declaration: { keep: "head" },
    indexer_declaration: { keep: "head", body: accessors },
    property_declaration: { keep: "head", kind: "property", body: accessors },
    event_declaration: { keep: "head", kind: "event", body: accessors },
    event_field_declaration: { keep: "value", kind: "event", names: variableNames },
    field_declaration: { keep: "value", kind: "field", names: variableNames },
    preproc_if: "holds",
    preproc_elif: "holds",
    preproc_else: "holds",
  },
};
