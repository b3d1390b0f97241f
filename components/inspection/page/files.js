// The files of an ending, each a card with as much of its text as one wants to see.

const SKIM_LINES = 12;
const LINE_PX = 18.75;
const VIEWS = ["names", "skim", "full"];
const SIGNS = {
  max_lines: ">", max_line_length: ">", mean_line_length: ">", alphanumeric_fraction: "<", alphabetic_fraction: "<",
  characters_per_token: "<",
};
let files = [];
let shownRule = null;
let opening = 0;

async function inflate(node) {
  const bytes = Uint8Array.from(atob(node.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

async function filesOf(ending) {
  const id = `files-${endings.indexOf(ending)}`;
  // While the page is still read, an element that nothing follows may be half of itself.
  if (document.readyState === "loading" && !byId(id)?.nextElementSibling) {
    await new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve, {once: true}));
  }
  return inflate(byId(id));
}

function linesOf(file) {
  const lines = [document.createDocumentFragment()];
  let position = 0;
  for (const [, length, letter] of file.marks.matchAll(/(\d+)([a-z_])/g)) {
    const end = position + Number(length);
    file.text.slice(position, end).split("\n").forEach((part, number) => {
      if (number) lines.push(document.createDocumentFragment());
      if (part) lines.at(-1).append(letter === "_" ? part : el("span", {className: letter}, part));
    });
    position = end;
  }
  return lines;
}

function render(card) {
  const {file, view} = card;
  const pre = card.node.querySelector("pre");
  const isOpen = view !== "names";
  const limit = view === "skim" ? SKIM_LINES : Infinity;
  const lines = isOpen ? (card.lines ??= linesOf(file)) : [];
  pre.hidden = !isOpen;
  pre.className = preferences.wrap ? "wrap" : "";
  pre.replaceChildren(...lines.slice(0, limit).map((line) => el("span", {className: "line"}, line.cloneNode(true))));
  pre.style.minHeight = "";
  card.node.querySelector(".path").setAttribute("aria-expanded", isOpen);
  const rest = lines.length - limit;
  const more = card.node.querySelector("button.more");
  more.hidden = !(rest > 0);
  more.textContent = `${plural(rest, "more line")} shown on a click`;
  card.node.querySelector("p.more").hidden = !(isOpen && rest <= 0 || view === "full") || !file.note;
  card.isRendered = true;
}

const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const card = entry.target.card;
    if (entry.isIntersecting && !card.isRendered) render(card);
  }
}, {rootMargin: "1500px"});

function setView(card, view) {
  card.view = view;
  card.isRendered = false;
  const lines = view === "names" ? 0 : Math.min(view === "skim" ? SKIM_LINES : Infinity, card.file.shown_lines);
  const pre = card.node.querySelector("pre");
  pre.hidden = view === "names";
  pre.style.minHeight = `${lines * LINE_PX}px`;
  near.unobserve(card.node);
  near.observe(card.node);
}

function toggle(card) {
  setView(card, card.view === "full" ? (preferences.view === "full" ? "names" : preferences.view) : "full");
  render(card);
}

function reasonOf({rule, value, threshold, detail}) {
  const sign = SIGNS[rule];
  const told = (text) => (isNaN(text) ? text : Number(text).toLocaleString("en", {maximumFractionDigits: 4}));
  const reason = sign ? `${told(value)} ${sign} ${told(threshold)}` : `${value} (allowed: ${threshold})`;
  return detail ? `${reason}; ${detail}` : reason;
}

function dropBadge(drop) {
  return el("span", {className: "badge", title: "This rule would drop the file"}, "✕ ", el("b", {}, drop.rule), ` ${reasonOf(drop)}`);
}

function cardOf(file, number) {
  const cut = file.path.lastIndexOf("/") + 1;
  const badges = file.drops.map(dropBadge);
  for (const oddity of file.oddities) badges.push(el("span", {className: "badge mild"}, oddity));
  const facts = [file.repository, plural(file.num_lines, "line"), size(file.size_bytes), file.license].filter(Boolean);
  const card = {file, view: "names"};
  card.node = el(
    "article", {className: file.drops.length ? "file dropped" : "file", tabIndex: -1},
    el("header", {onclick: () => toggle(card)},
      el("span", {className: "number"}, String(number + 1)),
      el("button", {type: "button", className: "path", aria: {expanded: "false"}},
        el("span", {}, file.path.slice(0, cut)), el("b", {}, file.path.slice(cut))),
      el("span", {className: "facts"}, facts.join(" · ")),
      el("div", {className: "badges"}, ...badges)),
    el("pre", {hidden: true}),
    el("button", {type: "button", className: "more", hidden: true, onclick: () => toggle(card)}),
    el("p", {className: "more", hidden: true}, file.note),
  );
  card.node.card = card;
  return card;
}

function chooseFiles(rule) {
  shownRule = rule;
  const fits = (file) => rule === null || (rule === "" ? !file.drops.length : file.drops.some((drop) => drop.rule === rule));
  let number = 0;
  for (const card of files) {
    card.node.hidden = !fits(card.file);
    number += card.node.hidden ? 0 : 1;
  }
  for (const button of document.querySelectorAll("[data-rule]")) {
    button.setAttribute("aria-pressed", button.dataset.rule === (rule ?? "all"));
  }
  byId("files").querySelector(".quiet")?.remove();
  if (!number) byId("files").append(el("p", {className: "quiet"}, "None of the files shown. More may be among those measured."));
}

function fillFilters() {
  const rules = new Map();
  for (const {file} of files) {
    for (const rule of new Set(file.drops.map((drop) => drop.rule))) rules.set(rule, (rules.get(rule) ?? 0) + 1);
  }
  const kept = files.filter(({file}) => !file.drops.length).length;
  const button = (rule, text) => el("button", {
    type: "button", data: {rule: rule ?? "all"}, onclick: () => chooseFiles(rule),
  }, text);
  byId("filters").hidden = !rules.size;
  byId("filters").replaceChildren(
    button(null, `All ${files.length}`), button("", `Kept ${kept}`),
    ...[...rules].map(([rule, number]) => button(rule, `${rule} ${number}`)));
}

async function fillFiles(ending) {
  const turn = (opening += 1);
  byId("files-told").replaceChildren(plural(ending.shown, "file"), " ", el("small", {}, `drawn at random with seed ${index.seed}`));
  files = [];
  byId("files").replaceChildren();
  const found = ending.shown ? await filesOf(ending) : [];
  if (turn !== opening) return;
  near.disconnect();
  files = found.map(cardOf);
  byId("files").replaceChildren(...files.map((card) => card.node));
  for (const card of files) setView(card, preferences.view);
  fillFilters();
  chooseFiles(null);
}

