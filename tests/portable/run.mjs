// node run.mjs FOLDER_WITH_NODE_MODULES < job > answers
// Puts the job's files into MicroPython's file system, runs its harness there, and prints the file /answers.json that
// the harness wrote. MicroPython's own output goes to stderr: it warns on stdout, which would mix with the answers.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const library = "node_modules/@micropython/micropython-webassembly-pyscript/micropython.mjs";
const { loadMicroPython } = await import(pathToFileURL(join(process.argv[2], library)).href);
const job = JSON.parse(readFileSync(0, "utf8"));

const micropython = await loadMicroPython({
  heapsize: 64 * 1024 * 1024,
  linebuffer: true,
  stdout: (line) => process.stderr.write(line + "\n"),
});
for (const [path, text] of Object.entries(job.files)) {
  const folders = path.split("/").slice(1, -1);
  folders.forEach((_, i) => {
    const folder = "/" + folders.slice(0, i + 1).join("/");
    if (!micropython.FS.analyzePath(folder).exists) micropython.FS.mkdir(folder);
  });
  micropython.FS.writeFile(path, text);
}
try {
  micropython.runPython(job.harness);
} catch (error) {
  process.stderr.write(error.message + "\n");
  process.exit(1);
}
process.stdout.write(micropython.FS.readFile("/answers.json", { encoding: "utf8" }));
