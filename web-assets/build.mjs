// Puts what the pages load into one folder: our own files and those of the packages in package.json, as they are.
// No bundler: what a browser runs is what its makers published; but for verify.html, which must be one file (verify.mjs).
// manifest.json gives each file's hash for its address.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { verifierPage } from "./verify.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const packages = join(here, "node_modules");
const target = join(here, "..", "src", "terang", "web", "static");
const FILES = {
  "htmx.js": "htmx.org/dist/htmx.min.js",
  "uplot.js": "uplot/dist/uPlot.iife.min.js",
  "uplot.css": "uplot/dist/uPlot.min.css",
  "inter-latin.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
  "inter-latin-ext.woff2": "@fontsource-variable/inter/files/inter-latin-ext-wght-normal.woff2",
  "licence-htmx.txt": "htmx.org/LICENSE",
  "licence-uplot.txt": "uplot/LICENSE",
  "licence-inter.txt": "@fontsource-variable/inter/LICENSE",
  "licence-noble.txt": "@noble/curves/LICENSE",
};

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
for (const [name, path] of Object.entries(FILES)) copyFileSync(join(packages, path), join(target, name));
for (const name of readdirSync(join(here, "src"))) copyFileSync(join(here, "src", name), join(target, name));
const verifier = await verifierPage();
writeFileSync(join(target, "verify.html"), verifier);

const manifest = {};
const hashOf = (name) => createHash("sha256").update(readFileSync(join(target, name))).digest("hex").slice(0, 12);
const names = readdirSync(target).sort();
for (const name of names) if (!name.endsWith(".css")) manifest[name] = hashOf(name);
for (const name of names.filter((one) => one.endsWith(".css"))) {
  // What a style sheet names gets the same address as in a page, so that a browser fetches it once.
  const text = readFileSync(join(target, name), "utf8");
  writeFileSync(join(target, name), text.replace(/url\("([\w.-]+)"\)/g, (_, file) => `url("${file}?v=${manifest[file]}")`));
  manifest[name] = hashOf(name);
}
writeFileSync(join(target, "manifest.json"), JSON.stringify(manifest, null, 1) + "\n");
console.log(`${names.length} files in src/terang/web/static`);
console.log(`verify.html: ${verifier.length} bytes, SHA-256 ${createHash("sha256").update(verifier).digest("hex")}`);
