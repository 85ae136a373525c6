// JSON in the one form of a proof, and nothing else: ASCII, keys sorted, no white space, one newline at the end.
// JSON.parse would lose what tells one form from another: 1 from 1.0, the order of keys, a key that stands twice.
import { Refused } from "./bytes.js";

const SIZE_MAX = 1 << 20;
const DEPTH_MAX = 900;
const DIGITS_MAX = 4300;
const SHORT = new Map([['"', '"'], ["\\", "\\"], ["n", "\n"], ["r", "\r"], ["t", "\t"], ["b", "\b"], ["f", "\f"]]);
const WORDS = new Map([
  ["null", null], ["true", true], ["false", false], ["NaN", NaN], ["Infinity", Infinity], ["-Infinity", -Infinity],
]);

/** The document of a text. Objects become Maps, whole numbers BigInts, other numbers Numbers. */
export function parseOneForm(text) {
  if (text.length > SIZE_MAX) throw new Refused("this is no proof: it is larger than any");
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.expect("\n");
  if (reader.at !== text.length) reader.fail();
  return value;
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  fail() {
    throw new Refused(`the document is not in its one form: something was added, or written otherwise (at ${this.at})`);
  }

  expect(letter) {
    if (this.text[this.at] !== letter) this.fail();
    this.at++;
  }

  takes(letter) {
    const found = this.text[this.at] === letter;
    if (found) this.at++;
    return found;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) this.fail();
    this.at += found[0].length;
    return found[0];
  }

  value(depth) {
    if (depth > DEPTH_MAX) this.fail();
    const first = this.text[this.at];
    if (first === "{") return this.object(depth);
    if (first === "[") return this.list(depth);
    if (first === '"') return this.string();
    if (first !== undefined && /[a-zA-Z]/.test(first)) return this.word(this.match(/[A-Za-z]+/y));
    if (this.text.startsWith("-I", this.at)) return this.word(this.match(/-[A-Za-z]+/y));
    return this.number();
  }

  word(word) {
    if (!WORDS.has(word)) this.fail();
    return WORDS.get(word);
  }

  object(depth) {
    const found = new Map();
    let last = null;
    this.expect("{");
    if (this.takes("}")) return found;
    do {
      const key = this.string();
      if (last !== null && !isBefore(last, key)) this.fail();
      this.expect(":");
      found.set(key, this.value(depth + 1));
      last = key;
    } while (this.takes(","));
    this.expect("}");
    return found;
  }

  list(depth) {
    const found = [];
    this.expect("[");
    if (this.takes("]")) return found;
    do found.push(this.value(depth + 1));
    while (this.takes(","));
    this.expect("]");
    return found;
  }

  string() {
    let found = "";
    this.expect('"');
    while (!this.takes('"')) {
      if (this.takes("\\")) found += this.escape();
      else found += this.match(/[ !#-[\]-~]+/y);
    }
    return found;
  }

  escape() {
    const letter = this.text[this.at];
    if (letter !== "u") {
      if (!SHORT.has(letter)) this.fail();
      this.at++;
      return SHORT.get(letter);
    }
    const code = parseInt(this.match(/u[0-9a-f]{4}/y).slice(1), 16);
    const meant = String.fromCharCode(code);
    if ((code >= 0x20 && code < 0x7f) || "\n\r\t\b\f".includes(meant)) this.fail();
    return meant;
  }

  number() {
    const digits = this.match(/-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y);
    if (/^-?[0-9]+$/.test(digits)) {
      if (digits === "-0" || digits.length > DIGITS_MAX) this.fail();
      return BigInt(digits);
    }
    if (floatText(Number(digits)) !== digits) this.fail();
    return Number(digits);
  }
}

/** The order of code points, which is not that of JavaScript's half characters. */
function isBefore(a, b) {
  const left = Array.from(a, (one) => one.codePointAt(0)), right = Array.from(b, (one) => one.codePointAt(0));
  const at = left.findIndex((code, index) => code !== right[index]);
  return at < 0 ? left.length < right.length : at < right.length && left[at] < right[at];
}

/** A floating number as Python writes it. No proof has one; but a document with one may be in its one form. */
function floatText(value) {
  if (!Number.isFinite(value)) return "";
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const [mantissa, power] = Math.abs(value).toExponential().split("e");
  const digits = mantissa.replace(".", ""), exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    const form = digits.length > 1 ? `${digits[0]}.${digits.slice(1)}` : digits;
    return `${sign}${form}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  return `${sign}${whole}.${digits.slice(exponent + 1) || "0"}`;
}
