// Where verdicts go: to the server that gave this page, else into this browser until they are downloaded as CSV.

const keyOf = (row) => `${row.language}\0${row.extension}`;

class Verdicts {
  constructor(index) {
    this.columns = index.columns;
    this.reviewer = index.reviewer;
    this.isServed = false;
    this.rows = new Map();
    this.local = new Map();
    this.place = `starloom inspection ${index.sample}`;
    this.queue = Promise.resolve();
    for (const ending of index.endings) if (ending.own) this.rows.set(keyOf(ending), ending.own);
  }

  // Takes what was judged before: from the server if there is one, for it knows what changed since the page was written.
  async open() {
    if (location.protocol.startsWith("http")) {
      try {
        const answer = await fetch("verdicts", {cache: "no-store"});
        if (answer.ok) {
          const told = await answer.json();
          this.reviewer = told.reviewer;
          this.rows = new Map(told.rows.map((row) => [keyOf(row), row]));
          this.isServed = true;
        }
      } catch { /* a copy of the page on another server has nobody to ask */ }
    }
    if (!this.isServed) this.recall();
  }

  // One after the other, so that the last word on an ending is the one that stays.
  save(verdict) {
    const saved = this.queue.then(() => (this.isServed ? this.send(verdict) : this.keep(verdict)));
    this.queue = saved.catch(() => undefined);
    return saved;
  }

  async send(verdict) {
    let answer;
    try {
      answer = await fetch("verdicts", {
        method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(verdict), cache: "no-store",
      });
    } catch {
      throw new Error("Not saved: starloom inspect does not run any more. Start it again; verdicts given so far are kept.");
    }
    const told = await answer.json().catch(() => ({error: `the server answered ${answer.status}`}));
    if (!answer.ok) throw new Error(`Not saved: ${told.error}`);
    this.rows.set(keyOf(told), told);
    return told;
  }

  keep(verdict) {
    if (!this.reviewer.trim()) throw new Error("Not saved: write your name into the field Reviewer first.");
    const now = new Date();
    const date = [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0"));
    const row = {...this.rows.get(keyOf(verdict)), ...verdict, reviewer: this.reviewer.trim(), date: date.join("-")};
    this.rows.set(keyOf(row), row);
    this.local.set(keyOf(row), row);
    this.remember();
    return row;
  }

  remember() {
    try {
      localStorage.setItem(this.place, JSON.stringify({reviewer: this.reviewer, rows: [...this.local.values()]}));
      this.isRemembered = true;
    } catch {
      this.isRemembered = false;
    }
  }

  recall() {
    try {
      const told = JSON.parse(localStorage.getItem(this.place) ?? "{}");
      this.reviewer = told.reviewer ?? this.reviewer;
      for (const row of told.rows ?? []) {
        if ((this.rows.get(keyOf(row))?.date ?? "") > row.date) continue; // the table has a later word on it
        this.local.set(keyOf(row), row);
        this.rows.set(keyOf(row), row);
      }
      this.isRemembered = true;
    } catch {
      this.isRemembered = false;
    }
  }

  csv() {
    const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const rows = [...this.local.values()].map((row) => this.columns.map((name) => cell(String(row[name] ?? ""))));
    return [this.columns, ...rows].map((cells) => `${cells.join(",")}\n`).join("");
  }
}
