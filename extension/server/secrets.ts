import { setImmediate as nextTurn } from "node:timers/promises";
import { throwIfAborted } from "../../engine/errors.ts";

/** Something in a text that must not leave the machine. */
export interface SecretFinding {
  /** 1-based line where it begins. */
  line: number;
  /** Which rule found it, e.g. "aws"; stable, for tests and for the log. */
  rule: string;
  /** What it looks like, in words; never a piece of it. */
  message: string;
}

/**
 * Secrets in a text: the rules of secretlint's recommended preset and a few of our own. `path` (with "/") says which rules apply:
 * some look only at package.json, .npmrc or *.json. The scanner is loaded on the first text that could hold a secret. A file is one turn of the event
 * loop, so that a server that scans thousands still answers. `secretlint-disable` comments are not obeyed: repository text is data, and what may
 * leave the machine is its owner's decision. Throws `aborted`.
 */
export async function scanSecrets(path: string, text: string, signal?: AbortSignal): Promise<SecretFinding[]> {
  await nextTurn();
  throwIfAborted(signal);
  const findings = [...ownFindings(path, text), ...(await presetFindings(path, text))];
  throwIfAborted(signal);
  const byLine = new Map<string, SecretFinding>();
  for (const finding of findings) {
    const key = `${finding.line} ${finding.rule}`;
    if (!byLine.has(key)) byLine.set(key, finding);
  }
  return [...byLine.values()].sort((a, b) => a.line - b.line);
}

/**
 * Why a file is withheld because of its name alone, in words; undefined where the name says nothing. Examples, templates and public halves of keys
 * pass; their content is scanned like any other.
 */
export function secretName(path: string): string | undefined {
  const parts = path.toLowerCase().split("/");
  const name = parts.at(-1) ?? "";
  if (harmlessName.test(name)) return undefined;
  const inFolder = `${parts.at(-2) ?? ""}/${name}`;
  return deniedNames.find(({ pattern }) => pattern.test(name) || pattern.test(inFolder))?.reason;
}

/** Names that say themselves that the file holds no secret: `.env.example`, `credentials.template.json`, `id_rsa.pub`, a chain of certificates. */
const harmlessName =
  /(?:^|[._-])(?:example|sample|template|tmpl|dist|schema|pub|public)(?:[._-]|$)|^(?:ca|cacert|cacerts|ca-bundle|ca-certificates|cert|certificate|chain|fullchain)\.pem$|\.d\.[cm]?ts$/;

/** Tried in order on the lower-case name, and on the name with the folder that holds it. */
const deniedNames: readonly { pattern: RegExp; reason: string }[] = [
  { pattern: /^\.env(?:rc)?(?:[._-].*)?$|^[^/]+\.env$/, reason: "environment files often hold passwords and keys" },
  { pattern: /^id_(?:rsa|dsa|ecdsa|ed25519|xmss)(?:_sk)?$|^[^/]+\.ppk$/, reason: "a private SSH key by its name" },
  { pattern: /^[^/]+\.(?:pem|key|p8|p12|pfx|pkcs12)$/, reason: "a private key or certificate store by its name" },
  { pattern: /^[^/]+\.(?:jks|jceks|keystore|bks|kdb|kdbx|ovpn|agekey)$/, reason: "a key store or password store by its name" },
  {
    pattern: /^(?:\.aws\/(?:credentials|config)|\.docker\/config\.json|\.dockercfg|\.kube\/config|kubeconfig|\.boto|\.s3cfg)$/,
    reason: "a file where a command line tool keeps its credentials",
  },
  {
    pattern: /^(?:[._]netrc|\.pgpass|pgpass\.conf|\.my\.cnf|\.git-credentials|\.pypirc|\.htpasswd|\.vault-token|\.terraformrc)$/,
    reason: "a file where a command line tool keeps its credentials",
  },
  {
    pattern: /^(?:application_default_credentials|client_secrets?(?:[._-][^/]*)?|service[._-]?account(?:[._-][^/]*)?)\.json$/,
    reason: "a Google Cloud credentials file by its name",
  },
  {
    pattern:
      /^(?:[^/]*[._-])?(?:credentials?|secrets?)(?:\.(?:json|ya?ml|toml|ini|cfg|conf|properties|xml|txt|csv|tfrc\.json))?$/,
    reason: "a credentials file by its name",
  },
  {
    pattern: /^[^/]+\.(?:tfstate|tfstate\.backup|tfvars|tfvars\.json)$/,
    reason: "Terraform keeps passwords in files of this name in the clear",
  },
  {
    pattern: /^\.(?:bash|zsh|sh|python|node_repl|psql|mysql|sqlite|irb|rediscli)_history$/,
    reason: "a history of typed commands",
  },
];

interface PresetRule {
  what: string;
  /**
   * A text in which none of these occurs cannot be reported by the rule, so the rule is not run on it: a first pass at the speed of a substring
   * search instead of the 30 to 50 MB/s of the rules. Each is a part that every match of the rule's patterns must contain, as read from the
   * version that package.json pins; the test compares with the whole preset, and fails when the version moves.
   */
  needs: readonly (string | RegExp)[];
}

/** Of both rules that look for "scheme://name:password@", and wider than either. */
const credentialsInUrl = /:\/\/[^:/\s]{1,256}:[^@/\s]{1,256}@/;

/** The rules of the preset by the end of their id. */
const presetRules: Readonly<Record<string, PresetRule>> = {
  aws: { what: "an AWS secret access key", needs: [/(?:ECRET|ecret)_?(?:ACCESS|access|Access)_?(?:KEY|key|Key)/] },
  // Its keys may be written with escapes; JSON has no other escape for a letter, "_" or "-".
  gcp: { what: "a key of a Google Cloud service account", needs: ["private_key", "\\u"] },
  privatekey: { what: "a private key", needs: ["PRIVATE KEY"] },
  npm: { what: "an npm or GitHub token", needs: ["npm_", "_authToken=", ":x-oauth-basic@"] },
  basicauth: { what: "a password in a URL", needs: [credentialsInUrl] },
  "database-connection-string": { what: "a password in a connection string", needs: [credentialsInUrl] },
  slack: { what: "a Slack token or webhook", needs: ["xox", "xapp-", /hooks\.slack\.com/i] },
  sendgrid: { what: "a SendGrid key", needs: ["SG."] },
  shopify: { what: "a Shopify token", needs: [/shp(?:pa|ca|at|ss)_/] },
  github: { what: "a GitHub token", needs: [/gh[pousr]_/, "github_pat_"] },
  openai: { what: "an OpenAI key", needs: ["T3BlbkFJ"] },
  anthropic: { what: "an Anthropic key", needs: ["sk-ant-api0"] },
  linear: { what: "a Linear key", needs: ["lin_api_"] },
  "1password": { what: "a 1Password service account token", needs: ["ops_ey"] },
};

/** Not a finder: it hides what others found wherever a comment in the text asks for it. */
const commentRule = "filter-comments";
const rulePrefix = "@secretlint/secretlint-rule-";

interface OwnRule {
  rule: string;
  what: string;
  /** Without it the pattern, which looks behind and is slow for that, need not be tried. */
  needs: string;
  pattern: RegExp;
  /** Only files of this name. */
  name?: RegExp;
}

/** Kinds of secret that the preset has no rule for. */
const ownRules: readonly OwnRule[] = [
  { rule: "google-api", what: "a Google API key", needs: "AIza", pattern: /(?<![\w-])AIza[\w-]{35}(?![\w-])/g },
  { rule: "huggingface", what: "a Hugging Face token", needs: "hf_", pattern: /(?<!\w)hf_[A-Za-z]{34}(?!\w)/g },
  { rule: "gitlab", what: "a GitLab token", needs: "glpat-", pattern: /(?<![\w-])glpat-[\w-]{20}/g },
  { rule: "stripe", what: "a Stripe live key", needs: "k_live_", pattern: /(?<!\w)[rs]k_live_[A-Za-z0-9]{16}/g },
  // A reference such as ${NPM_TOKEN} is no secret.
  {
    rule: "npm",
    what: "an npm token or password",
    needs: "=",
    pattern: /_(?:auth|authToken|password)[ \t]*=[ \t]*(?![\s$])/g,
    name: /(?:^|\/)\.npmrc$/,
  },
  {
    rule: "npm",
    what: "an npm token",
    needs: "npmAuth",
    pattern: /npmAuth(?:Token|Ident):[ \t]*["']?(?![\s"'$])/g,
    name: /(?:^|\/)\.yarnrc\.yml$/,
  },
];

function ownFindings(path: string, text: string): SecretFinding[] {
  return ownRules.flatMap(({ rule, what, needs, pattern, name }) => {
    if ((name && !name.test(path)) || !text.includes(needs)) return [];
    const lineAt = lineCounter(text);
    return [...text.matchAll(pattern)].map(({ index }) => finding(rule, what, lineAt(index)));
  });
}

function finding(rule: string, what: string, line: number): SecretFinding {
  return { line, rule, message: `looks like ${what}` };
}

/** 1-based line of growing indices: one pass over the text however many are asked for. */
function lineCounter(text: string): (index: number) => number {
  let line = 1;
  let next = text.indexOf("\n");
  return (index) => {
    for (; next !== -1 && next < index; next = text.indexOf("\n", next + 1)) line++;
    return line;
  };
}

async function presetFindings(path: string, text: string): Promise<SecretFinding[]> {
  const possible = possibleRules(path, text);
  if (possible.size === 0) return [];
  const { lintSource, rules } = await loadScanner();
  const config = rules.flatMap((rule) => {
    const id = ruleName(rule.meta.id);
    // A rule that is not in the table (another version of the preset) always runs: rather slow than a miss.
    return id === commentRule || (id in presetRules && !possible.has(id)) ? [] : [{ id: rule.meta.id, rule }];
  });
  const { messages } = await lintSource({
    // The extension is only told for JSON: for ".p12" a rule would read the path from disk by itself, and that name is withheld anyway.
    source: { filePath: path, content: text, contentType: "text", ext: isJson(path) ? ".json" : "" },
    options: { config: { rules: config }, noPhysicFilePath: true, maskSecrets: true },
  });
  return messages.map(({ ruleId, loc }) => {
    const name = ruleName(ruleId);
    return finding(name, presetRules[name]?.what ?? "a secret", loc.start.line);
  });
}

/** Rules of the table that could report something in the text. */
function possibleRules(path: string, text: string): Set<string> {
  const occurs = new Map<string | RegExp, boolean>();
  const has = (need: string | RegExp): boolean => {
    const known = occurs.get(need) ?? (typeof need === "string" ? text.includes(need) : need.test(text));
    occurs.set(need, known);
    return known;
  };
  const rules = Object.entries(presetRules).filter(([rule, { needs }]) => (rule !== "gcp" || isJson(path)) && needs.some(has));
  return new Set(rules.map(([rule]) => rule));
}

function isJson(path: string): boolean {
  return path.toLowerCase().endsWith(".json");
}

function ruleName(id: string): string {
  return id.startsWith(rulePrefix) ? id.slice(rulePrefix.length) : id;
}

type Scanner = Pick<typeof import("@secretlint/core"), "lintSource"> &
  Pick<typeof import("@secretlint/secretlint-rule-preset-recommend"), "rules">;

let scanner: Promise<Scanner> | undefined;

/** Loaded once, when first needed: it costs more to start than most workspaces need it. A failed load is tried again. */
function loadScanner(): Promise<Scanner> {
  scanner ??= importScanner().catch((error: unknown) => {
    scanner = undefined;
    throw error;
  });
  return scanner;
}

async function importScanner(): Promise<Scanner> {
  const [{ lintSource }, { rules }, { secretLintProfiler }] = await Promise.all([
    import("@secretlint/core"),
    import("@secretlint/secretlint-rule-preset-recommend"),
    import("@secretlint/profiler"),
  ]);
  // It keeps some thirty marks per scanned file and searches all of them at each: a server that lives for days must not collect them.
  secretLintProfiler.mark = () => undefined;
  return { lintSource, rules };
}
