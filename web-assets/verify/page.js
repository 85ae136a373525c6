// The page around the checker: takes a file or a text, and says in plain words what checking it found.
import { check } from "./verifier.js";
import { TEXTS } from "./texts.js";

const FILE_MAX = 1 << 20;
const UNITS = {
  voltage_mv: [1000, 1, "V"],
  current_ma: [1000, 3, "A"],
  power_mw: [1000, 1, "W"],
  energy_mwh: [1e6, 3, "kWh"],
  frequency_millihz: [1000, 1, "Hz"],
  power_factor_permille: [1000, 2, ""],
};
const TO_COMPARE = [
  ...["origin", "size", "root", "position", "public_key", "checkpoint_key", "platform_key"],
  ...["block_number", "block_hash", "genesis_hash", "signer", "contract"],
];

const byId = (id) => document.getElementById(id);
let language = (navigator.language || "").startsWith("en") ? "en" : "id";
let text = null;
let problem = null; // why there is no text to check

const t = (key) => TEXTS[language][key] ?? key;

function made(name, className, ...inside) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...inside);
  return element;
}

function mark(kind) {
  return made("span", `mark ${kind}`, byId(`mark-${kind}`).content.cloneNode(true));
}

function facts(rows) {
  const list = made("dl", "facts");
  for (const [name, value, isLong] of rows) {
    list.append(made("div", "", made("dt", "", name), made("dd", isLong ? "long" : "", value)));
  }
  return list;
}

function quantity(name, value) {
  const [per, digits, unit] = UNITS[name] ?? [1, 0, ""];
  const form = new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${form.format(Number(value) / per)} ${unit}`.trim();
}

function moment(ms) {
  if (ms === null) return t("time_unknown");
  const when = new Date(Number(ms));
  if (Number.isNaN(when.getTime())) return `${ms} ms UTC`;
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "long" }).format(when);
}

function verdict(kind, title, ...sentences) {
  const said = sentences.map((sentence) => made("p", "", sentence));
  return made("div", `verdict ${kind}`, mark(kind), made("div", "", made("h2", "", title), ...said));
}

function card(title, ...inside) {
  return made("section", "card", made("h3", "", title), ...inside);
}

function signed(shows) {
  const rows = [];
  if (shows.reading) {
    rows.push([t("time"), moment(shows.reading.utc_ms)]);
    const names = Object.keys(shows.reading.values).sort((a, b) => (b === "energy_mwh") - (a === "energy_mwh"));
    for (const name of names) rows.push([t(name), quantity(name, shows.reading.values[name])]);
  }
  if (shows.act) rows.push([t("act"), shows.act.replaceAll("_", " ")]);
  if (shows.meter !== null) rows.push([t("meter"), String(shows.meter)]);
  if (shows.room !== null) rows.push([t("room"), String(shows.room)]);
  return card(t("reading"), facts(rows));
}

function stepList(steps, shows) {
  const list = made("ol", "steps"), names = [...new Set(steps.map(([one]) => one))];
  if (shows.bindings.includes("confirm_binding")) names.splice(names.indexOf("bindings") + 1, 0, "confirmed");
  for (const name of names) list.append(made("li", "", mark("good"), t(`good.${name}`)));
  return card(t("checked"), list);
}

function details(title, inside) {
  const box = made("details", "card", made("summary", "", title));
  box.append(inside);
  return box;
}

function showGood({ steps, shows }) {
  const isWaiting = shows.block_number === null, key = isWaiting ? "waits" : "holds";
  const compared = TO_COMPARE.filter((name) => shows[name] !== null).map((name) => [t(name), String(shows[name]), true]);
  const technical = made("ol", "technical", ...steps.map(([name, sentence]) => made("li", "", `${name}: ${sentence}`)));
  return [
    verdict(isWaiting ? "wait" : "good", t(key), t(`${key}_text`)),
    signed(shows),
    stepList(steps, shows),
    card(t("not"), made("p", "", t("not_meter")), made("p", "", t("not_keys"))),
    details(t("compare"), facts(compared)),
    details(t("technical"), technical),
  ];
}

function showBad({ step, problem: why, kept }) {
  const said = t("fails_text").replace("{step}", t(`step.${step}`));
  const found = kept
    ? verdict("wait", t("uncompared"), t(`kept.${kept}`), t("uncompared_text"))
    : verdict("bad", t("fails"), t(`bad.${step}`), said);
  return [found, details(t("technical"), made("p", "technical", `${step}: ${why}`))];
}

/** Checks what was given, anew each time: the language and the kept checkpoint may have changed. */
function show() {
  const result = byId("result");
  result.hidden = text === null && problem === null;
  if (result.hidden) return;
  const answer = problem === null ? check(text, byId("kept").value) : null;
  if (answer === null) {
    result.replaceChildren(verdict("bad", t("fails"), t(problem)));
    result.dataset.verdict = "unread";
  } else {
    result.replaceChildren(...(answer.holds ? showGood(answer) : showBad(answer)));
    result.dataset.verdict = answer.holds ? "holds" : answer.step;
  }
}

function speak() {
  document.documentElement.lang = language;
  document.title = `${t("title")} · Terang`;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
  show();
}

function take(found, why = null) {
  text = found;
  problem = why;
  show();
  byId("result").scrollIntoView({ block: "start" });
  byId("result").focus({ preventScroll: true });
}

async function takeFile(file) {
  if (!file) return;
  byId("name").textContent = file.name;
  if (file.size > FILE_MAX) return take(null, "too_large");
  try {
    take(await file.text());
  } catch {
    take(null, "unreadable");
  }
}

/** Pasting loses the newline at the end, or brings a second one; a file is checked to the byte. */
function takePasted() {
  const pasted = byId("pasted").value.trim();
  if (pasted) byId("name").textContent = "";
  if (pasted) take(`${pasted}\n`);
  else show();
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    language = button.dataset.language;
    speak();
  });
}
byId("file").addEventListener("change", (event) => {
  takeFile(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});
byId("check").addEventListener("click", takePasted);
byId("kept").addEventListener("input", show);
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  takeFile(event.dataTransfer.files[0]);
});
speak();
