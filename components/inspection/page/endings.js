// The list of languages and endings, with what is judged of it.

const MARKS = {include: "✓", exclude: "✕", unsure: "?"};
const verdicts = new Verdicts(index);
const rowOf = (ending) => verdicts.rows.get(keyOf(ending));
let current = null;

function listItem(ending) {
  const filled = el("div");
  filled.style.width = `${(100 * ending.dropped) / Math.max(1, ending.measured)}%`;
  const told = `${share(ending.dropped, ending.measured)} of the files would be dropped`;
  const item = el(
    "a", {href: addressOf(ending), title: `${ending.language} ${nameOf(ending)}: ${told}`},
    el("span", {className: "extension"}, nameOf(ending)), el("span", {className: "files"}, count(ending.files)),
    el("div", {className: "share"}, filled), el("span", {className: "mark"}),
  );
  ending.item = item;
  return item;
}

function groupsOf(some) {
  const groups = new Map();
  for (const ending of some) groups.set(ending.language, [...(groups.get(ending.language) ?? []), ending]);
  return [...groups].map(([language, members]) =>
    el("section", {}, el("h3", {}, el("span", {}, language), el("span")), ...members.map(listItem)));
}

function fillList() {
  const list = byId("endings");
  list.append(...groupsOf(judged));
  const left = endings.filter((ending) => !ending.is_taken);
  if (left.length) {
    const told = `${plural(left.length, "ending")} of languages that are not taken`;
    list.append(el("details", {}, el("summary", {}, told), ...groupsOf(left)));
  }
  if (index.unknown_files) {
    list.append(el("p", {className: "unknown"}, `${plural(index.unknown_files, "file")} of no known language are not shown.`));
  }
}

function markList() {
  for (const ending of endings) {
    const verdict = rowOf(ending)?.verdict;
    ending.item.className = verdict ?? "";
    ending.item.lastChild.textContent = verdict ? MARKS[verdict] : "";
    if (ending === current) ending.item.setAttribute("aria-current", "page");
    else ending.item.removeAttribute("aria-current");
  }
  for (const group of byId("endings").querySelectorAll("section")) {
    const items = [...group.querySelectorAll("a")];
    group.querySelector("h3").lastChild.textContent = `${items.filter((item) => item.className).length}/${items.length}`;
  }
  const done = judged.filter(rowOf);
  const bytes = (some) => some.reduce((sum, ending) => sum + ending.bytes, 0);
  const bar = byId("progress");
  bar.setAttribute("aria-valuemax", judged.length);
  bar.setAttribute("aria-valuenow", done.length);
  bar.firstChild.style.width = `${(100 * done.length) / Math.max(1, judged.length)}%`;
  byId("progress-told").textContent =
    `${done.length} of ${judged.length} judged, ${share(bytes(done), bytes(judged))} of the bytes`;
  document.title = `${done.length}/${judged.length} Visual inspection`;
}

function findEndings() {
  const wanted = byId("find").value.trim().toLowerCase();
  for (const group of byId("endings").querySelectorAll("section")) {
    const language = group.querySelector("h3").firstChild.textContent;
    for (const item of group.querySelectorAll("a")) {
      item.hidden = !`${language} ${item.firstChild.textContent}`.toLowerCase().includes(wanted);
    }
    group.hidden = !group.querySelector("a:not([hidden])");
  }
  const rest = byId("endings").querySelector("details");
  if (rest && wanted) rest.open = true;
}

