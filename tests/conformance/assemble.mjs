// The page from its parts, as src/monitor/page.rs assembles it, and the hashes in its Content-Security-Policy.
// `node assemble.mjs` writes the hashes into page.html: run it after a change of a script or of the style.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const FOLDER = fileURLToPath(new URL("../../src/monitor/page/", import.meta.url));
export const read = (name) => readFileSync(FOLDER + name, "utf8");

const FILES = {
  "{{uplot.css}}": "vendor/uPlot.min.css",
  "{{page.css}}": "page.css",
  "{{uplot.js}}": "vendor/uPlot.iife.min.js",
  "{{page.js}}": "page.js",
};

/** The page with these figures: JSON text, or "null" for a live page. */
export function assemble(figures = "null", template = read("page.html")) {
  let page = template;
  for (const [place, file] of Object.entries(FILES)) page = page.replace(place, () => read(file));
  return page.replace("{{figures}}", () => figures.replaceAll("<", "\\u003c"));
}

/** The template with the hashes of its inline style and scripts. */
export function hashed(template = read("page.html")) {
  const page = assemble("null", template);
  const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const [style] = [...page.matchAll(/<style>([^]*?)<\/style>/g)].map(([, text]) => hash(text));
  const scripts = [...page.matchAll(/<script>([^]*?)<\/script>/g)].map(([, text]) => hash(text));
  return template
    .replace(/script-src [^;"]*/, `script-src ${scripts.join(" ")}`)
    .replace(/style-src [^;"]*/, `style-src ${style}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(`${FOLDER}page.html`, hashed());
