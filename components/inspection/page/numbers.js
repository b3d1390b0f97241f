// The numbers of an ending: what the filters drop, how lengths and fractions are spread, what StarCoder's reviewers said.

function rulesCard(ending) {
  const kept = el("div");
  kept.style.width = `${(100 * (ending.measured - ending.dropped)) / Math.max(1, ending.measured)}%`;
  const rows = ending.rules.map((rule) => el(
    "tr", {}, el("td", {}, el("button", {
      type: "button", className: "link", title: "Show the files that this rule drops", data: {rule: rule.rule},
      onclick: () => chooseFiles(shownRule === rule.rule ? null : rule.rule),
    }, rule.rule)),
    el("td", {}, count(rule.files)), el("td", {className: "beyond"}, share(rule.files, ending.measured)),
  ));
  if (!rows.length) rows.push(el("tr", {}, el("td", {className: "none", colSpan: 3}, "No rule drops any of them.")));
  return el(
    "div", {className: "card"},
    el("h3", {}, `The filters keep ${share(ending.measured - ending.dropped, ending.measured)} `,
      el("small", {}, `of ${plural(ending.measured, "file")} measured`)),
    el("div", {className: "kept-bar"}, kept),
    el("table", {}, el("tbody", {}, ...rows)),
  );
}

function strip(measure) {
  const [least, low, begin, middle, end, high, most] = measure.quantiles;
  const values = measure.limit === null ? [least, most] : [least, most, measure.limit];
  const scale = measure.is_fraction ? (value) => value : (value) => Math.log1p(value);
  const floor = measure.is_fraction ? 0 : scale(Math.min(...values));
  const width = (measure.is_fraction ? 1 : scale(Math.max(...values))) - floor || 1;
  const at = (value) => `${(100 * (scale(value) - floor)) / width}%`;
  const place = (className, from, to) => {
    const node = el("div", {className});
    node.style.left = at(from);
    if (to !== undefined) node.style.width = `${parseFloat(at(to)) - parseFloat(at(from))}%`;
    return node;
  };
  const limit = measure.limit === null ? null : place("limit", measure.limit);
  return el("div", {className: "strip", title: "5 to 95 % of the files; box: the middle half; red: the limit"},
    place("span", low, high), place("box", begin, end), place("median", middle), limit);
}

function measuresCard(ending) {
  const classOf = (quantile) => (["least", "", "", "half", "", "", "most"][quantile] || "fine");
  const told = (measure, value) => (measure.is_fraction ? value.toFixed(2) : count(Math.round(value)));
  const rows = ending.ranges.map((measure) => el(
    "tr", {}, el("td", {}, measure.name), el("td", {}, strip(measure)),
    el("td", {}, measure.limit === null ? "none" : `${measure.is_fraction ? "≥" : "≤"} ${count(measure.limit)}`),
    el("td", {className: measure.beyond ? "beyond" : ""}, measure.limit === null ? "" : share(measure.beyond, ending.measured)),
    ...measure.quantiles.map((value, number) => el("td", {className: classOf(number)}, told(measure, value))),
  ));
  const quantiles = ["least", "5 %", "25 %", "half", "75 %", "95 %", "most"];
  const heads = [
    ...["", "", "limit", "beyond"].map((head) => el("th", {}, head)),
    ...quantiles.map((head, number) => el("th", {className: classOf(number)}, head)),
  ];
  return el(
    "div", {className: "card"},
    el("h3", {}, "What the files look like"),
    el("div", {className: "scroll"}, el("table", {}, el("thead", {}, el("tr", {}, ...heads)),
      el("tbody", {}, ...rows))),
  );
}

function fillNotes(ending) {
  const notes = [];
  const note = (text, className = "") => notes.push(el("p", {className}, text));
  if (!ending.is_taken) note(`Files of ${ending.language} are dropped whatever the verdict: ${ending.reason}.`, "unsure");
  const theirs = ending.starcoder;
  if (theirs) {
    const limits = LIMITS.filter((name) => theirs[name]).map((name) => `${name.replaceAll("_", " ")} ${theirs[name]}`);
    const told = [theirs.verdict, ...limits, theirs.comment].filter(Boolean).join("; ");
    note(`StarCoder's reviewers: ${told}.${index.starcoder_counts ? "" : " The parameters do not ask for their verdicts."}`,
      theirs.verdict === "exclude" ? "exclude" : "");
  }
  if (ending.xml) note(`${share(ending.xml, ending.measured)} begin as XML.`);
  if (ending.data) note(`${share(ending.data, ending.measured)} hold long or much encoded data (base64, hexadecimal bytes, \\u escapes).`);
  byId("notes").replaceChildren(...notes);
}

