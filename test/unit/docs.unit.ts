/** The documents say what is true: commands that exist, folders that exist, files that exist. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";

const documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
const manifest = JSON.parse(readFileSync("package.json", "utf8")) as {
  version: string;
  scripts: Record<string, string>;
  contributes: { commands: { title: string; category: string }[]; configuration: { properties: Record<string, unknown> } };
};

describe("documents", () => {
  it("name only npm scripts that exist", () => {
    const builtIn = new Set(["ci", "install", "test", "start"]);
    for (const document of documents) {
      for (const [, script = ""] of read(document).matchAll(/\bnpm run (?:-s )?([a-z:]+)/g)) {
        assert.ok(script in manifest.scripts, `${document}: npm run ${script}`);
      }
      for (const [, command = ""] of read(document).matchAll(/\bnpm (?!run\b)([a-z]+)\b(?= |`|$)/gm)) {
        assert.ok(builtIn.has(command), `${document}: npm ${command}`);
      }
    }
  });

  it("name only palette commands that the manifest has, and the README names all that are not for debugging", () => {
    const titles = manifest.contributes.commands.map(({ title, category }) => `${category}: ${title}`);
    for (const document of documents) {
      for (const [, title = ""] of read(document).matchAll(/\*(Long Context[^*]*: [^*]+)\*/g)) {
        assert.ok(titles.includes(title), `${document}: ${title}`);
      }
    }
    const unnamed = titles.filter((title) => !title.includes("(debug)") && !read("README.md").includes(title));
    assert.deepEqual(unnamed, []);
  });

  it("name every setting in the README", () => {
    const unnamed = Object.keys(manifest.contributes.configuration.properties).filter(
      (id) => !read("README.md").includes(`\`${id}\``),
    );
    assert.deepEqual(unnamed, []);
  });

  it("link only to files that exist", () => {
    for (const document of documents) {
      for (const [, target = ""] of read(document).matchAll(/\]\((?!https?:|#)([^)#]+)/g))
        assert.ok(existsSync(target), `${document}: ${target}`);
    }
  });

  it("explain every folder of engine/, webview/ and extension/ in ARCHITECTURE.md", () => {
    const text = read("ARCHITECTURE.md");
    for (const top of ["engine", "webview", "extension"]) {
      const folders = readdirSync(top, { withFileTypes: true }).filter(
        (entry) => entry.isDirectory() && entry.name !== "__pycache__",
      );
      const missing = folders.map(({ name }) => `${name}/`).filter((name) => !text.includes(name));
      assert.deepEqual(missing, [], top);
    }
  });

  it("have a changelog entry for the version of the manifest", () => {
    assert.match(read("CHANGELOG.md"), new RegExp(`^## \\[${manifest.version.replaceAll(".", "\\.")}\\]`, "m"));
  });
});

function read(path: string): string {
  return readFileSync(path, "utf8");
}
