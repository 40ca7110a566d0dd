import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { lintSource } from "@secretlint/core";
import { creator, rules } from "@secretlint/secretlint-rule-preset-recommend";
import { EngineError } from "../../../engine/errors.ts";
import { scanSecrets, secretName } from "../../../extension/server/secrets.ts";
import { seeded } from "../../support/random.ts";

const random = seeded(20_241);

/** Characters of an invented key. Keys are put together here, so that no scanner takes this file for a leak. */
function characters(count: number, alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"): string {
  return Array.from({ length: count }, () => alphabet[Math.floor(random() * alphabet.length)] ?? "").join("");
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

function pemKey(kind: string): string {
  const body = (kind === "OPENSSH " ? ["b3BlbnNz", "aC1rZXktdjE"].join("") : "MI") + characters(382);
  const lines = body.match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${kind}PRIVATE`, ` KEY-----\n${lines.join("\n")}\n-----END ${kind}PRIVATE`, " KEY-----"].join("");
}

/** Base64 of a JSON object whose last brace is a group of its own, as the real ones end. */
function onePasswordToken(): string {
  const written = (pad: string) => JSON.stringify({ email: `svc@${pad}.y`, secretKey: characters(60), userAuth: {} });
  const text = ["x", "xx", "xxx"].map(written).find(({ length }) => length % 3 === 1) ?? "";
  return ["ops", Buffer.from(text).toString("base64")].join("_");
}

/** One or more for every rule: rule, path it is looked for in, text that holds the key, and the part that must never be repeated. */
const specimens: readonly { rule: string; path: string; text: string; key: string }[] = [
  ...["AWS_SECRET_ACCESS_KEY=", "aws_secret_access_key = ", `"SecretAccessKey": "`].map((front) =>
    specimen("aws", "deploy.sh", front, characters(40)),
  ),
  gcpKey("service.json", (text) => text),
  gcpKey("escaped.json", (text) => text.replaceAll("_key", "_\\u006bey").replaceAll("-----BEGIN", "\\u002d----BEGIN")),
  ...["", "RSA ", "EC ", "OPENSSH "].map((kind) => specimen("privatekey", "notes.md", "", pemKey(kind))),
  specimen("npm", "ci.yml", "token: ", ["npm", characters(36)].join("_")),
  specimen("npm", "pkg/.npmrc", `//registry.example/:_authToken=`, characters(30)),
  specimen("npm", ".npmrc", `_password = `, characters(12)),
  specimen("npm", ".yarnrc.yml", `npmAuthToken: "`, characters(24)),
  { ...specimen("npm", "package.json", `{"dependencies":{"a":"git+https://`, characters(40)), text: "" },
  specimen("basicauth", "README.md", "curl https:" + "//deploy:", characters(14), "@api.internal.dev/v1"),
  specimen(
    "database-connection-string",
    "app.py",
    "MongoDB+SRV:".toLowerCase() + "//svc:",
    characters(14),
    "@db.internal:27017/x",
  ),
  specimen("database-connection-string", "App.java", "jdbc:MySQL:" + "//svc:", characters(14), "@db.internal/x"),
  specimen("database-connection-string", "app.rb", "postgresql:" + "//svc:", characters(14), "@db.internal/x"),
  specimen("slack", "bot.ts", "", ["xoxb", "12345678901", characters(24)].join("-")),
  specimen(
    "slack",
    "bot.ts",
    "",
    ["HTTPS:/", "Hooks.Slack.com", "services", `T${characters(8)}`, `B${characters(8)}`, characters(24)].join("/"),
  ),
  specimen("sendgrid", "mail.go", "", ["SG", characters(22), characters(43)].join(".")),
  ...["shpat", "shpca", "shppa", "shpss"].map((kind) => specimen("shopify", "shop.rs", "", [kind, characters(32)].join("_"))),
  ...["ghp", "gho", "ghu", "ghs", "ghr"].map((kind) => specimen("github", "x.c", "", [kind, characters(36)].join("_"))),
  specimen("github", "x.c", "", ["github", "pat", characters(82)].join("_")),
  specimen("openai", "llm.py", "", ["sk", characters(20) + "T3Blbk" + "FJ" + characters(20)].join("-")),
  specimen("openai", "llm.py", "", ["sk", "proj", characters(74) + "T3Blbk" + "FJ" + characters(74)].join("-")),
  specimen("anthropic", "llm.py", "", ["sk", "ant", "api03", `${characters(93)}AA`].join("-")),
  specimen("linear", "x.ts", "", ["lin", "api", characters(40)].join("_")),
  specimen("1password", "x.ts", "", onePasswordToken()),
  specimen("google-api", "x.js", "key=", ["AI", "za", characters(35)].join("")),
  specimen("huggingface", "train.py", "", ["hf", characters(34, letters)].join("_")),
  specimen("gitlab", "x.yml", "", ["glpat", characters(20)].join("-")),
  specimen("stripe", "pay.rb", "", ["sk", "live", characters(24)].join("_")),
].map((one) =>
  one.text === "" ? { ...one, text: `{"dependencies":{"a":"git+https://${one.key}:x-oauth-basic@github.com/a/b"}}` } : one,
);

function specimen(rule: string, path: string, front: string, key: string, back = "") {
  return { rule, path, key, text: `${front}${key}${back}` };
}

function gcpKey(path: string, written: (text: string) => string) {
  const key = pemKey("");
  return { rule: "gcp", path, key, text: written(JSON.stringify({ private_key_id: characters(40), private_key: key })) };
}

describe("secrets in a text", () => {
  for (const { rule, path, text, key } of specimens) {
    it(`${rule} in ${path}, on its line, without repeating it`, async () => {
      // JSON is looked at as a whole: nothing may stand before it.
      const whole = rule === "gcp" || path.endsWith("package.json");
      const findings = await scanSecrets(path, whole ? text : `first\r\nsecond\nthird ${text}\nlast\n`);
      const found = findings.find((finding) => finding.rule === rule);
      const held = findings.map((finding) => finding.rule).join(", ");
      assert.ok(found, `${rule} was not found; found were: ${held}`);
      assert.equal(found.line, whole ? 1 : 3);
      for (let at = 0; at + 8 <= key.length; at += 8)
        assert.ok(!JSON.stringify(findings).includes(key.slice(at, at + 8)), "the message repeats a part of the key");
    });
  }

  it("every rule of the preset has a specimen here, and the version is the one whose patterns were read for the first pass", () => {
    const names = rules
      .map(({ meta }) => meta.id.replace("@secretlint/secretlint-rule-", ""))
      .filter((name) => name !== "filter-comments");
    assert.deepEqual(
      names.filter((name) => !specimens.some(({ rule }) => rule === name)),
      [],
    );
    const entry = createRequire(import.meta.url).resolve("@secretlint/secretlint-rule-preset-recommend");
    const { version } = JSON.parse(readFileSync(join(dirname(entry), "..", "package.json"), "utf8")) as { version: string };
    assert.equal(version, "11.7.1", "compare the patterns of the new version with `needs` in secrets.ts, then change this line");
  });

  it("finds what the whole preset finds, on keys cut, joined and spoilt at random", async () => {
    const spoilt = (key: string): string => {
      const at = Math.floor(random() * key.length);
      const kind = Math.floor(random() * 4);
      if (kind === 0) return key;
      if (kind === 1) return key.slice(0, at) + characters(1) + key.slice(at + 1);
      return kind === 2 ? key.slice(at) : key.slice(0, at);
    };
    const paths = ["a.ts", "b.json", "package.json", ".npmrc", "notes.md"];
    let found = 0;
    for (let round = 0; round < 400; round++) {
      const pieces = Array.from(
        { length: 1 + Math.floor(random() * 3) },
        () => specimens[Math.floor(random() * specimens.length)]?.text ?? "",
      );
      const text = pieces.map(spoilt).join([" ", "\n", "é", "", '"'][round % 5]);
      const path = paths[Math.floor(random() * paths.length)] ?? "a.ts";
      const wanted = await wholePreset(path, text);
      const ours = new Set((await scanSecrets(path, text)).map(({ line, rule }) => `${line} ${rule}`));
      for (const finding of wanted) assert.ok(ours.has(finding), `missed ${finding} in round ${round}`);
      found += wanted.length;
    }
    assert.ok(found > 100, `the texts hold hardly any key (${found})`);
  });

  it("says nothing of plain code, references and placeholders", async () => {
    const clean = [
      "const url = `https://${user}:${password}@example.org/`;",
      "postgres://localhost:5432/app and http://localhost:3000/a@b",
      "process.env.AWS_SECRET_ACCESS_KEY",
      "-----BEGIN PUBLIC KEY-----",
      "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
      "https://example.org/a:b@c",
      `hf_${"x".repeat(12)}`,
    ];
    for (const text of clean) assert.deepEqual(await scanSecrets("src/a.ts", text), [], text);
    assert.deepEqual(
      await scanSecrets(".npmrc", "//registry.example/:_authToken=${NPM_TOKEN}\nregistry=https://registry.example\n"),
      [],
    );
    assert.deepEqual(await scanSecrets("a.json", "{ not json, with private_key and \\u0041"), []);
  });

  it("a comment in the text does not switch it off", async () => {
    const key = ["ghp", characters(36)].join("_");
    const disable = ["secretlint", "disable"].join("-");
    assert.equal((await scanSecrets("a.ts", `// ${disable}\n${key}\n`)).length, 1);
    assert.equal((await scanSecrets("a.ts", `${key} // ${disable}-line\n`)).length, 1);
  });

  it("several in one file come in the order of their lines, one per line and rule", async () => {
    const token = () => ["ghp", characters(36)].join("_");
    const google = ["AI", "za", characters(35)].join("");
    const findings = await scanSecrets("a.ts", `${token()} ${token()}\n\n${google}\n${token()}\n${google}\n`);
    assert.deepEqual(
      findings.map(({ line, rule }) => `${line} ${rule}`),
      ["1 github", "3 google-api", "4 github", "5 google-api"],
    );
  });

  it("finds one at the end of a long text, and in a file that is one line", async () => {
    const filler = "const value = compute(1, 2, 3); // https://example.org/path\n".repeat(20_000);
    const key = ["glpat", characters(20)].join("-");
    assert.equal((await scanSecrets("big.ts", `${filler}${key}`))[0]?.line, 20_001);
    assert.equal((await scanSecrets("min.js", `${"a,".repeat(200_000)}"${key}"`))[0]?.line, 1);
  });

  it("stops when it is told to", async () => {
    const stopped = (error: unknown): boolean => EngineError.is(error, "aborted");
    await assert.rejects(scanSecrets("a.ts", "text", AbortSignal.abort()), stopped);
    const controller = new AbortController();
    const scan = scanSecrets("a.ts", ["ghp", characters(36)].join("_"), controller.signal);
    controller.abort();
    await assert.rejects(scan, stopped);
  });
});

/** Line and rule of everything that the preset reports by itself, its comment filter left out. */
async function wholePreset(path: string, text: string): Promise<string[]> {
  const { messages } = await lintSource({
    source: { filePath: path, content: text, contentType: "text", ext: path.endsWith(".json") ? ".json" : ".ts" },
    options: {
      noPhysicFilePath: true,
      config: {
        rules: [
          { id: creator.meta.id, rule: creator, rules: [{ id: "@secretlint/secretlint-rule-filter-comments", disabled: true }] },
        ],
      },
    },
  });
  return messages.map(({ ruleId, loc }) => `${loc.start.line} ${ruleId.replace("@secretlint/secretlint-rule-", "")}`);
}

describe("secrets by name", () => {
  const denied = [
    ".env",
    "app/.env.production",
    ".env.local",
    ".envrc",
    "deploy/prod.env",
    "keys/server.pem",
    "server.KEY",
    "home/.ssh/id_rsa",
    "id_ed25519",
    "id_ecdsa_sk",
    "putty.ppk",
    "a.p12",
    "a.pfx",
    "AuthKey.p8",
    "release.keystore",
    "debug.jks",
    "passwords.kdbx",
    ".aws/credentials",
    ".docker/config.json",
    "home/.kube/config",
    ".netrc",
    ".pgpass",
    ".git-credentials",
    ".pypirc",
    ".htpasswd",
    "application_default_credentials.json",
    "client_secret_123.json",
    "service-account.json",
    "config/credentials.yml",
    "aws-credentials.json",
    "config/secrets.yaml",
    "secrets.toml",
    "config/master.key",
    "infra/terraform.tfstate",
    "infra/prod.tfvars",
    ".bash_history",
  ];
  for (const path of denied) it(`${path} is withheld`, () => assert.match(secretName(path) ?? "passes", / /));

  const allowed = [
    ".env.example",
    ".env.sample",
    "example.env",
    ".env.template",
    ".env.dist",
    "src/env.ts",
    "src/.env.d.ts",
    "src/environment.ts",
    "id_rsa.pub",
    "keys/public.pem",
    "certs/ca.pem",
    "fullchain.pem",
    ".npmrc",
    "docker/config.json",
    "kube/config",
    "src/credentials.ts",
    "src/secrets.ts",
    "docs/secrets.md",
    "credentials.example.json",
    "config/credentials.yml.enc",
    "config/database.yml",
    "terraform.tfvars.example",
    "keyboard.keymap",
    "src/key.ts",
    ".environment/readme.md",
    "package.json",
    "",
  ];
  for (const path of allowed) it(`${path} passes`, () => assert.equal(secretName(path), undefined));
});
