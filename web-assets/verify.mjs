// Makes the saved verifier: one file with everything inside, that loads nothing and may connect to nothing.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild-wasm";

const here = dirname(fileURLToPath(import.meta.url));
const read = (...path) => readFileSync(join(here, ...path), "utf8");

/** The text of verify.html. */
export async function verifierPage() {
  const script = await bundle(), style = `\n${read("verify", "page.css")}`;
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  const licence = read("node_modules", "@noble", "curves", "LICENSE").trim();
  const parts = { POLICY: policy, STYLE: style, SCRIPT: script, LICENCE: licence };
  return read("verify", "page.html").replace(/@([A-Z]+)@/g, (_, name) => parts[name]);
}

async function bundle() {
  const { outputFiles } = await build({
    entryPoints: [join(here, "verify", "page.js")],
    absWorkingDir: here,
    bundle: true,
    format: "iife",
    target: "es2020",
    charset: "ascii",
    minify: false, // who wants to know what it does can read it
    legalComments: "none", // the licence stands at the end of the page
    banner: { js: '"use strict";' },
    write: false,
  });
  const script = `\n${outputFiles[0].text}`;
  if (/<\/script|<!--/i.test(script)) throw new Error("the script would end before its end");
  return script;
}

const hashOf = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
