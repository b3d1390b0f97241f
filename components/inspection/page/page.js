// The form of the verdict, the keys, and the way from one ending to the next.

const form = byId("verdict");
const drafts = new Map();
let filling = Promise.resolve();

function draftOf(ending) {
  const row = rowOf(ending);
  return {
    language: ending.language, extension: ending.extension, verdict: row?.verdict ?? null, comment: row?.comment ?? "",
    ...Object.fromEntries(LIMITS.map((name) => [name, String(row?.[name] ?? "")])),
  };
}

function fillForm() {
  const draft = drafts.get(current) ?? draftOf(current);
  const row = rowOf(current);
  for (const button of form.querySelectorAll("[data-verdict]")) {
    button.setAttribute("aria-pressed", button.dataset.verdict === row?.verdict);
  }
  for (const name of ["comment", ...LIMITS]) {
    const field = form.elements[name];
    if (field !== document.activeElement) field.value = draft[name];
    // Without a server an empty cell leaves what the table says.
    if (name !== "comment") field.placeholder = (!verdicts.isServed && current.own?.[name]) || current.limits[name];
  }
  byId("limits-button").classList.toggle("own", LIMITS.some((name) => draft[name]));
  if (drafts.has(current)) tell("Not saved yet: give a verdict.");
  else tell(row ? `${row.verdict} by ${row.reviewer || "somebody"}${row.date ? `, ${row.date}` : ""}` : "No verdict yet.");
}

function tell(text, isWrong = false) {
  byId("saved").textContent = text;
  byId("saved").classList.toggle("wrong", isWrong);
}

function readForm() {
  const cells = ["comment", ...LIMITS].map((name) => [name, form.elements[name].value.trim()]);
  return {...draftOf(current), ...Object.fromEntries(cells)};
}

async function save(draft, goesOn) {
  const ending = current;
  drafts.set(ending, draft);
  tell("Saving …");
  try {
    await verdicts.save(draft);
    drafts.delete(ending);
    markList();
    if (ending === current && goesOn) openNextWithout();
    else if (ending === current) fillForm();
    fillFooter();
  } catch (error) {
    if (ending === current) tell(error.message, true);
  }
}

const judge = (verdict, goesOn) => save({...readForm(), verdict}, goesOn ?? preferences.goOn);

function keepForm() {
  const draft = readForm();
  if (draft.verdict) return void save(draft, false);
  drafts.set(current, draft);
  fillForm();
}

function fillFooter() {
  byId("reviewer-field").hidden = verdicts.isServed;
  byId("download").hidden = verdicts.isServed || !verdicts.local.size;
  const own = verdicts.isRemembered ? "Verdicts stay in this browser" : "Verdicts last as long as this page is open";
  byId("where").textContent = verdicts.isServed
    ? `Each verdict is written to ${index.table} at once, in the name of ${verdicts.reviewer}.`
    : `${own}. Download them, then: starloom inspect --take FILE`;
}

function download() {
  const address = URL.createObjectURL(new Blob([verdicts.csv()], {type: "text/csv"}));
  const who = verdicts.reviewer.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  el("a", {href: address, download: `inspection-${who}.csv`}).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

// ---- going about

function open(ending) {
  if (!ending || ending === current) return;
  document.activeElement?.blur();
  current = ending;
  history.replaceState(null, "", addressOf(ending));
  byId("language").textContent = ending.language;
  byId("extension").textContent = nameOf(ending);
  byId("amount").textContent = `${ending.is_estimate ? "about " : ""}${plural(ending.files, "file")}, ${size(ending.bytes)}`;
  byId("place").textContent = `${endings.indexOf(ending) + 1} of ${endings.length}`;
  fillNotes(ending);
  byId("numbers").replaceChildren(rulesCard(ending), measuresCard(ending));
  fillForm();
  markList();
  ending.item.closest("details")?.setAttribute("open", "");
  ending.item.scrollIntoView({block: "nearest"});
  showList(false);
  window.scrollTo(0, 0);
  filling = fillFiles(ending);
}

const step = (by) => open(endings[endings.indexOf(current) + by]);

function openNextWithout() {
  const at = judged.indexOf(current);
  const next = [...judged.slice(at + 1), ...judged.slice(0, at + 1)].find((ending) => !rowOf(ending));
  if (next) return open(next);
  fillForm();
  tell(`All ${judged.length} endings are judged.`);
}

async function stepFile(by) {
  await filling;  // a key pressed while the files are still unpacked counts
  const visible = files.filter((card) => !card.node.hidden);
  const at = visible.findIndex((card) => card.node.contains(document.activeElement));
  const card = visible[at < 0 ? (by > 0 ? 0 : visible.length - 1) : Math.max(0, Math.min(visible.length - 1, at + by))];
  card?.node.focus({preventScroll: true});
  card?.node.scrollIntoView({block: "start"});
}

function showList(isOpen) {
  byId("side").classList.toggle("open", isOpen);
  byId("open-list").setAttribute("aria-expanded", isOpen);
}

function showLimits(isOpen) {
  byId("limits").hidden = !isOpen;
  byId("limits-button").setAttribute("aria-expanded", isOpen);
  if (isOpen) form.elements.max_line_chars.focus();
}

function prefer(change) {
  Object.assign(preferences, change);
  try {
    localStorage.setItem("starloom inspection", JSON.stringify(preferences));
  } catch { /* then they last as long as the page */ }
  byId("wrap").setAttribute("aria-pressed", preferences.wrap);
  byId("go-on").checked = preferences.goOn;
  for (const button of byId("views").children) button.setAttribute("aria-pressed", button.dataset.view === preferences.view);
  if ("view" in change) for (const card of files) setView(card, preferences.view);
  if ("wrap" in change) for (const card of files) if (card.isRendered) render(card);
}

const KEYS = {
  i: () => judge("include"), e: () => judge("exclude"), u: () => judge("unsure"),
  I: () => judge("include", true), E: () => judge("exclude", true), U: () => judge("unsure", true),
  n: () => step(1), p: () => step(-1), ArrowRight: () => step(1), ArrowLeft: () => step(-1), o: openNextWithout,
  j: () => stepFile(1), k: () => stepFile(-1),
  v: () => prefer({view: VIEWS[(VIEWS.indexOf(preferences.view) + 1) % VIEWS.length]}),
  w: () => prefer({wrap: !preferences.wrap}),
  c: () => form.elements.comment.focus(), l: () => showLimits(byId("limits").hidden),
  "/": () => { showList(true); byId("find").focus(); }, "?": () => byId("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input:not([type=checkbox]), select");
  if (event.key === "Escape" || (event.key === "Enter" && event.target.matches("#verdict input"))) {
    if (isTyping) event.target.blur();
    else showList(false);
  }
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.key === "Enter" && event.target.matches("article")) toggle(event.target.card);
  else if (event.repeat && !"jknp".includes(event.key)) return;
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

form.addEventListener("change", (event) => { if (event.target.name) keepForm(); });
for (const button of form.querySelectorAll("[data-verdict]")) button.onclick = () => judge(button.dataset.verdict);
for (const button of byId("views").children) button.onclick = () => prefer({view: button.dataset.view});
byId("limits-button").onclick = () => showLimits(byId("limits").hidden);
byId("go-on").onchange = (event) => prefer({goOn: event.target.checked});
byId("wrap").onclick = () => prefer({wrap: !preferences.wrap});
byId("previous").onclick = () => step(-1);
byId("next").onclick = () => step(1);
byId("next-open").onclick = openNextWithout;
byId("help-button").onclick = () => byId("help").showModal();
byId("open-list").onclick = () => showList(!byId("side").classList.contains("open"));
byId("main").addEventListener("click", (event) => { if (event.target.id !== "open-list") showList(false); });
byId("find").oninput = findEndings;
byId("find").onkeydown = (event) => {
  if (event.key !== "Enter") return;
  const found = endings.find((ending) => ending.item.offsetParent !== null && !ending.item.hidden);
  event.target.blur();
  open(found);
};
byId("reviewer").oninput = (event) => { verdicts.reviewer = event.target.value; verdicts.remember(); };
byId("download").onclick = download;
window.addEventListener("hashchange", () => open(endings.find((ending) => addressOf(ending) === location.hash)));
window.addEventListener("beforeprint", () => files.forEach((card) => { setView(card, "full"); render(card); }));
window.addEventListener("afterprint", () => files.forEach((card) => setView(card, preferences.view)));
window.addEventListener("beforeunload", (event) => {
  if (!verdicts.isServed && verdicts.local.size && !verdicts.isRemembered) event.preventDefault();
});

async function begin() {
  fillList();
  await verdicts.open();
  byId("reviewer").value = verdicts.reviewer;
  fillFooter();
  prefer({});
  const asked = endings.find((ending) => addressOf(ending) === location.hash);
  open(asked ?? judged.find((ending) => !rowOf(ending)) ?? endings[0]);
}

void begin();
