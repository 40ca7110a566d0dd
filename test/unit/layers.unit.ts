/** The import rules of ARCHITECTURE.md as data, checked against every source file: engine <- webview <- extension. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, normalize } from "node:path";
import { describe, it } from "node:test";
import ts from "typescript";

interface Rule {
  files: RegExp;
  /** Source files it may import at run time, by path from the repository root. */
  run: RegExp[];
  /** Source files it may import types from, beside those of `run`. */
  types: RegExp[];
  packages: RegExp[];
}

const node = /^node:/;
const engine = /^engine\//;
const contracts = /^engine\/((attention|eval|generate|kv-cache|pack|planner)\/)?(api|errors)\.ts$/;
/** How settings are written and what they mean: tables and parsers without state. */
const settingsOf =
  /^engine\/(attention\/(policy|policyTable|costText|wholeOnly|patterns\/quest|ring\/reportText)|kv-cache\/(kvFormats|capacity)|models\/chunkSizes|planner\/words)\.ts$/;
const wires = /^(webview\/protocol\/|extension\/server\/requests\.ts$)/;

/** The first rule whose `files` matches decides. */
const rules: Rule[] = [
  { files: /^engine\/backends\/ort/, run: [engine], types: [], packages: [/^onnxruntime-web/] },
  { files: /^engine\/pack\//, run: [engine], types: [], packages: [/^@huggingface\/jinja$/] },
  { files: /^engine\//, run: [engine], types: [], packages: [] },
  {
    files: /^webview\/worker\.ts$/,
    run: [/^webview\/(protocol\/|ring|modelPieces\.ts$)/, contracts, /^engine\/session\.ts$/],
    types: [engine],
    packages: [],
  },
  {
    files: /^webview\/ring\w+\.ts$/,
    run: [/^webview\/(protocol\/|ring|modelPieces\.ts$)/, contracts, /^engine\/attention\/ring\//],
    types: [],
    packages: [],
  },
  { files: /^webview\/adapter\.ts$/, run: [/^webview\/protocol\//, /^engine\/gpu\/device\.ts$/], types: [], packages: [] },
  {
    files: /^webview\/components\/ui\.ts$/,
    run: [/^webview\//],
    types: [contracts],
    packages: [/^lit/, /^@vscode\/webview-ui-toolkit$/],
  },
  {
    files: /^webview\//,
    run: [/^webview\//, contracts, /^engine\/position\//, settingsOf],
    types: [/^engine\/pack\//],
    packages: [/^lit/, /^uplot/],
  },
  {
    files: /^extension\/server\//,
    run: [/^extension\/(server|models)\//, /^extension\/settings\.ts$/, contracts, /^engine\/(tokenizer|pack)\//, wires],
    types: [engine],
    packages: [node, /^vscode-languageserver/, /^ignore$/, /^@secretlint\//, /^web-tree-sitter$/],
  },
  {
    files: /^extension\/adapter\/ringThread\.ts$/,
    run: [/^extension\/adapter\//, /^extension\/models\/nodeFiles\.ts$/, engine],
    types: [],
    packages: [node],
  },
  { files: /^extension\/adapter\//, run: [/^extension\/adapter\//, engine], types: [], packages: [node, /^webgpu$/] },
  {
    files: /^extension\/cli(\/|\.ts$)/,
    run: [/^extension\/(cli|adapter|server|models|corpus|prefixes)\//, /^extension\/settings\.ts$/, engine],
    types: [wires],
    packages: [node],
  },
  { files: /^extension\/loopback\.ts$/, run: [], types: [], packages: [node] },
  { files: /^extension\/prefixes\//, run: [/^extension\/(prefixes\/|loopback\.ts$)/, engine], types: [], packages: [node] },
  { files: /^extension\/hub\//, run: [/^extension\/hub\//, engine], types: [], packages: [node] },
  {
    files: /^extension\/models\/(location|nodeFiles|fileServer|knownModels|modelFacts)\.ts$/,
    run: [/^extension\/(models\/|hub\/|loopback\.ts$)/, engine],
    types: [wires],
    packages: [node],
  },
  {
    files: /^extension\//,
    run: [
      /^extension\/(?!server\/|cli\/|cli\.ts$|adapter\/|dev\/)/,
      /^extension\/server\/(roots|contentHash|textFile|later|serverProcess)\.ts$/,
      engine,
      wires,
    ],
    types: [/^extension\/server\//],
    packages: [node, /^vscode$/, /^vscode-languageclient/],
  },
];

interface Import {
  target: string;
  typeOnly: boolean;
  line: number;
}

const folders = ["engine", "webview", "extension"];
const files = folders.flatMap((folder) => sourcesBelow(folder));
const imports = new Map(files.map((file) => [file, importsOf(file)]));

describe("layers", () => {
  it("imports only what the layer may see", () => {
    const broken = files.flatMap((file) => {
      const rule = rules.find(({ files: pattern }) => pattern.test(file));
      assert.ok(rule, `no rule covers ${file}`);
      return (imports.get(file) ?? [])
        .filter((found) => !allowed(rule, found))
        .map(({ target, line }) => `${file}:${line} imports ${target}`);
    });
    assert.deepEqual(broken, []);
  });

  it("keeps vscode out of the processes that have none", () => {
    for (const entry of ["extension/server/main.ts", "extension/cli.ts"]) {
      assert.ok(imports.has(entry), `${entry} is missing`);
      const reached = [...reachable(entry)].filter((target) => /^vscode(-languageclient.*)?$/.test(target));
      assert.deepEqual(reached, [], `${entry} reaches it`);
    }
  });

  it("has a file behind every relative import, named with its extension", () => {
    const known = new Set(files);
    const missing = [...imports].flatMap(([file, list]) =>
      list
        .filter(({ target }) => folders.some((folder) => target.startsWith(`${folder}/`)))
        // A WebAssembly module is made of the AssemblyScript beside it.
        .filter(({ target }) => !/\.(wgsl|css|mjs)$/.test(target) && !known.has(target.replace(/\.wasm$/, ".as.ts")))
        .map(({ target }) => `${file} imports ${target}`),
    );
    assert.deepEqual(missing, []);
  });

  it("has no circle of run-time imports", () => {
    const finished = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string, path: string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      if (finished.has(file) || path.includes(file)) return;
      for (const { target, typeOnly } of imports.get(file) ?? []) if (!typeOnly) visit(target, [...path, file]);
      finished.add(file);
    };
    for (const file of files) visit(file, []);
    assert.deepEqual(circles, []);
  });

  it("has no barrel, no catch-all name and no file over 500 lines", () => {
    const all = [...files, ...sourcesBelow("test")];
    const badNames = all.filter((file) => /(^|\/)(index|utils?|common|helpers?|manager)\.ts$/.test(file));
    assert.deepEqual(badNames, []);
    const long = all.filter((file) => readFileSync(file, "utf8").split("\n").length > 501);
    assert.deepEqual(long, []);
  });

  it("keeps what has one owner in its one file", () => {
    const owners: [RegExp, RegExp][] = [
      [/\bacquireVsCodeApi\(/, /^webview\/hostPort\.ts$/],
      [/\bgetConfiguration\(/, /^extension\/config\.ts$/],
      [/\brequestDevice\(/, /^engine\/gpu\/device\.ts$/],
    ];
    const strays = files.flatMap((file) => {
      const text = readFileSync(file, "utf8");
      return owners
        .filter(([pattern, owner]) => pattern.test(text) && !owner.test(file))
        .map(([pattern]) => `${file} has ${pattern.source}`);
    });
    assert.deepEqual(strays, []);
  });
});

/** Everything that a bundle of `entry` contains or loads: files and packages. */
function reachable(entry: string, seen = new Set<string>()): Set<string> {
  if (seen.has(entry)) return seen;
  seen.add(entry);
  for (const { target, typeOnly } of imports.get(entry) ?? []) if (!typeOnly) reachable(target, seen);
  return seen;
}

function allowed(rule: Rule, { target, typeOnly }: Import): boolean {
  if (/\.(wgsl|css)$/.test(target)) return true;
  const inside = folders.some((folder) => target.startsWith(`${folder}/`));
  const patterns = inside ? [...rule.run, ...(typeOnly ? rule.types : [])] : rule.packages;
  return patterns.some((pattern) => pattern.test(target));
}

function sourcesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /(?<!\.d)\.ts$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).replaceAll("\\", "/"))
    .filter((file) => !file.startsWith("test/fixtures/"))
    .sort();
}

/** Every import and re-export; relative ones as a path from the root. */
function importsOf(file: string): Import[] {
  const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest);
  const found: Import[] = [];
  const add = (specifier: ts.Expression | undefined, typeOnly: boolean, at: ts.Node): void => {
    if (specifier === undefined || !ts.isStringLiteral(specifier)) return;
    const relative = specifier.text.startsWith(".");
    const target = relative ? normalize(join(file, "..", specifier.text)).replaceAll("\\", "/") : specifier.text;
    found.push({ target, typeOnly, line: source.getLineAndCharacterOfPosition(at.getStart(source)).line + 1 });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isTypeOnly(node.importClause), node);
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly, node);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], false, node);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true, node);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** `import type`, or every name behind `type`. */
function isTypeOnly(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const named = clause.namedBindings;
  return (
    clause.name === undefined &&
    named !== undefined &&
    ts.isNamedImports(named) &&
    named.elements.every((element) => element.isTypeOnly)
  );
}
