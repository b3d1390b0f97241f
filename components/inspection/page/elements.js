// What all parts of the page share. What comes from files is put in as text and never as markup.

const index = JSON.parse(document.getElementById("index").textContent);
const byId = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");
const LIMITS = ["max_line_chars", "min_alphanumeric_fraction", "min_alphabetic_fraction", "xml_declaration"];
const endings = index.endings;
const judged = endings.filter((ending) => ending.is_taken);

function el(name, properties = {}, ...children) {
  const {data, aria, ...plain} = properties;
  const node = Object.assign(document.createElement(name), plain);
  Object.assign(node.dataset, data);
  for (const [key, value] of Object.entries(aria ?? {})) node.setAttribute(`aria-${key}`, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  for (; bytes >= 1000 && step < units.length - 1; step += 1) bytes /= 1000;
  return `${step && bytes < 100 ? bytes.toFixed(1) : count(Math.round(bytes))} ${units[step]}`;
}

function share(part, whole) {
  const percent = whole ? (100 * part) / whole : 0;
  if (percent > 0 && percent < 0.1) return "<0.1 %";
  return `${percent < 10 && percent > 0 ? percent.toFixed(1) : Math.round(percent)} %`;
}

const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const nameOf = (ending) => ending.extension || "no ending";
const addressOf = (ending) => `#${encodeURIComponent(ending.language)}/${encodeURIComponent(ending.extension)}`;

function recallPreferences() {
  const usual = {view: "skim", wrap: true, goOn: false};
  try {
    return {...usual, ...JSON.parse(localStorage.getItem("starloom inspection") ?? "{}")};
  } catch {
    return usual;
  }
}

const preferences = recallPreferences();
