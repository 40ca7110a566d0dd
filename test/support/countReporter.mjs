// Reporter of node:test that writes one JSON line per test, so that test/run.mjs can add the tiers up.

/** A suite counts only when it fails by itself, not through its tests. A skipped or unfinished test, or a file without tests, is a failure: nothing is passed over silently. */
export default async function* countReporter(source) {
  for await (const { type, data } of source) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    if (data.details?.type === "suite" && (type === "test:pass" || data.details.error?.failureType === "subtestsFailed"))
      continue;
    const notRun = data.skip !== undefined || data.todo !== undefined;
    const noTests = data.nesting === 0 && /\.(unit|gpu|e2e|bench)\.mjs$/.test(data.name);
    const passed = type === "test:pass" && !notRun && !noTests;
    const why = notRun ? " (skipped)" : noTests && type === "test:pass" ? " (contains no tests)" : "";
    yield `${JSON.stringify({ passed, name: `${data.name}${why}`, file: data.file ?? "" })}\n`;
  }
}
