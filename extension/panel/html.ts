import { randomBytes } from "node:crypto";

/** URIs as the webview reaches them. */
export interface PageUris {
  cspSource: string;
  script: string;
  worker: string;
  ortWasm: string;
  /** Ports of this machine that the page may reach, beside webview resources. */
  ports: readonly string[];
}

/**
 * The panel's page. It loads one script under a nonce; the worker's script and the WASM binary are handed over as attributes of the
 * body, because the page fetches them itself: a worker can only start from a blob here, and cannot fetch webview resources.
 */
export function panelHtml(uris: PageUris): string {
  const nonce = randomBytes(18).toString("base64url");
  const csp = Object.entries(contentSecurityPolicy(uris, nonce)).map(([name, value]) => `${name} ${value}`);
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta http-equiv="Content-Security-Policy" content="${attribute(csp.join("; "))}" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Long-Context Playground</title>
  </head>
  <body data-worker="${attribute(uris.worker)}" data-ort-wasm="${attribute(uris.ortWasm)}">
    <script nonce="${nonce}" src="${attribute(uris.script)}"></script>
  </body>
</html>
`;
}

/** Nothing but our own files and blobs; styles may be inline because the component libraries make theirs at run time. */
function contentSecurityPolicy({ cspSource, ports }: PageUris, nonce: string): Record<string, string> {
  return {
    "default-src": "'none'",
    "script-src": `'nonce-${nonce}' 'wasm-unsafe-eval' blob:`,
    "worker-src": "blob:",
    "connect-src": [cspSource, "blob:", ...ports].join(" "),
    "style-src": `${cspSource} 'unsafe-inline'`,
    "img-src": `${cspSource} data: blob:`,
    "font-src": cspSource,
  };
}

function attribute(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}
