// Trades, signals, statistics, and the plain tables.

import { count, duration, el, moment, percent, price, result, setText, sign } from "./text.js";

const PAGE = 50;

function cells(row, wanted) {
  while (row.children.length < wanted) row.append(el("td"));
  while (row.children.length > wanted) row.lastChild.remove();
}

function rows(body, wanted, make) {
  while (body.children.length < wanted) body.append(make());
  while (body.children.length > wanted) body.lastChild.remove();
}

const COLUMNS = [
  { key: "pnl", name: "Result", text: (t, i) => `${sign(t.pnl[i])} ${result(t, i)}`, number: true },
  { key: "side", name: "Side", text: (t, i) => (t.side[i] > 0 ? "long ▶" : "short ◀") },
  { key: "places", name: "Place", text: (t, i) => t.places[i] ?? "", shown: (t) => t?.places?.length > 0 },
  { key: "opened", name: "Opened (UTC)", text: (t, i) => moment(t.opened[i]) },
  { key: "closed", name: "Closed (UTC)", text: (t, i) => moment(t.closed[i]) },
  { key: "lasted", name: "Lasted", text: (t, i) => duration((t.closed[i] - t.opened[i]) / 60000), number: true },
  { key: "price_open", name: "Entry", text: (t, i) => price(t.price_open[i]), number: true },
  { key: "price_close", name: "Exit", text: (t, i) => price(t.price_close[i]), number: true },
  { key: "reason", name: "Why closed", text: (t, i) => t.reasons[t.reason[i]].replaceAll("_", " ") + (t.ambiguous[i] ? " (ambiguous)" : "") },
  { key: "target", name: "Target", text: (t, i) => price(t.target[i]), number: true },
  { key: "stop", name: "Stop", text: (t, i) => price(t.stop[i]), number: true },
  { key: "fills", name: "Fills", text: (t, i) => count(t.fills[i]), number: true, shown: (t) => Boolean(t?.fills) },
  { key: "average", name: "Average entry", text: (t, i) => price(t.average[i]), number: true, shown: (t) => Boolean(t?.fills) },
  { key: "peak", name: "Peak", text: (t, i) => percent(t.peak[i]), number: true },
  { key: "trough", name: "Trough", text: (t, i) => percent(t.trough[i]), number: true },
  { key: "note", name: "Note", text: (t, i) => t.notes[i] ?? "" },
  { key: "id", name: "Signal", text: (t, i) => t.ids[i] },
];

export class TradesTable {
  constructor(store, onSelect) {
    this.store = store;
    this.onSelect = onSelect;
    this.sort = { key: "closed", down: true };
    this.page = 0;
    this.outcome = "";
    this.filter = "";
    const again = () => {
      this.page = 0;
      this.update();
    };
    this.search = el("input", {
      type: "search",
      placeholder: "Filter: side, reason, note, id",
      "aria-label": "Filter trades by side, reason, note or id",
      oninput: () => {
        this.filter = this.search.value.trim().toLowerCase();
        again();
      },
    });
    this.kind = el(
      "select",
      {
        "aria-label": "Which trades",
        onchange: () => {
          this.outcome = this.kind.value;
          again();
        },
      },
      el("option", { value: "", text: "all" }),
      el("option", { value: "won", text: "▲ won" }),
      el("option", { value: "lost", text: "▼ lost" }),
    );
    const turn = (step) => () => {
      this.page += step;
      this.update();
    };
    this.back = el("button", { type: "button", text: "‹", "aria-label": "Earlier page of trades", onclick: turn(-1) });
    this.next = el("button", { type: "button", text: "›", "aria-label": "Next page of trades", onclick: turn(1) });
    this.where = el("span", { class: "bknb-where", "aria-live": "polite" });
    this.heads = COLUMNS.map(({ key, name, number }) =>
      el(
        "th",
        { scope: "col", class: number ? "bknb-number" : null },
        el("button", { type: "button", text: name, onclick: () => this.sortBy(key) }),
      ),
    );
    this.body = el("tbody", {
      onclick: (event) => this.select(event.target.closest("tr")),
      onkeydown: (event) => this.key(event),
    });
    this.node = el(
      "div",
      {},
      el("div", { class: "bknb-bar" }, this.search, this.kind, el("span", { class: "bknb-grow" }), this.back, this.where, this.next),
      el(
        "div",
        { class: "bknb-scroll" },
        el(
          "table",
          { class: "bknb-trades" },
          el("caption", { class: "bknb-hidden", text: "Trades; choose one to see it in the chart and its story" }),
          el("thead", {}, el("tr", {}, ...this.heads)),
          this.body,
        ),
      ),
    );
  }

  sortBy(key) {
    this.sort = { key, down: this.sort.key === key ? !this.sort.down : key !== "id" };
    this.update();
  }

  value(key) {
    const t = this.store.trades;
    if (key === "lasted") return (i) => t.closed[i] - t.opened[i];
    if (key === "reason") return (i) => t.reasons[t.reason[i]];
    if (key === "id") return (i) => t.ids[i];
    if (key === "note") return (i) => t.notes[i] ?? "";
    return (i) => t[key]?.[i] ?? 0; // columns of managed runs are not always there
  }

  filtered() {
    const t = this.store.trades;
    const all = [];
    for (let i = 0; i < t.closed.length; i += 1) {
      if (this.outcome === "won" && !(t.pnl[i] > 0)) continue;
      if (this.outcome === "lost" && !(t.pnl[i] < 0)) continue;
      if (this.filter) {
        const text = `${t.side[i] > 0 ? "long" : "short"} ${t.reasons[t.reason[i]].replaceAll("_", " ")} ${t.places?.[i] ?? ""} ${t.notes[i] ?? ""} ${t.ids[i]}`;
        if (!text.toLowerCase().includes(this.filter)) continue;
      }
      all.push(i);
    }
    const of = this.value(this.sort.key);
    const turn = this.sort.down ? -1 : 1;
    return all.sort((a, b) => {
      const [x, y] = [of(a), of(b)];
      return turn * (x < y ? -1 : x > y ? 1 : a - b);
    });
  }

  update() {
    const t = this.store.trades;
    this.heads.forEach((head, at) => {
      head.hidden = Boolean(COLUMNS[at].shown && !COLUMNS[at].shown(t));
      const mine = COLUMNS[at].key === this.sort.key;
      head.setAttribute("aria-sort", mine ? (this.sort.down ? "descending" : "ascending") : "none");
    });
    if (!t) return;
    const found = this.filtered();
    const pages = Math.max(Math.ceil(found.length / PAGE), 1);
    this.page = Math.max(0, Math.min(this.page, pages - 1));
    const shown = found.slice(this.page * PAGE, (this.page + 1) * PAGE);
    const start = this.page * PAGE;
    const of = found.length === t.count ? "" : ` (${count(t.count)} in all)`;
    setText(this.where, found.length ? `${count(start + 1)}–${count(start + shown.length)} of ${count(found.length)}${of}` : "none");
    this.back.disabled = this.page === 0;
    this.next.disabled = this.page === pages - 1;
    // rows are updated in place, so that focus and pointer stay on them
    rows(this.body, shown.length, () => el("tr", { tabindex: "0" }));
    shown.forEach((at, place) => {
      const row = this.body.children[place];
      cells(row, COLUMNS.length);
      row.dataset.at = at;
      row.setAttribute("aria-selected", String(at === this.store.selected));
      COLUMNS.forEach((column, c) => {
        const cell = row.children[c];
        cell.hidden = this.heads[c].hidden;
        if (cell.hidden) return;
        setText(cell, column.text(t, at));
        cell.className = column.key === "pnl" ? `bknb-number ${t.pnl[at] > 0 ? "bknb-won" : t.pnl[at] < 0 ? "bknb-lost" : ""}` : column.number ? "bknb-number" : "";
      });
    });
  }

  select(row) {
    if (row?.dataset.at !== undefined) this.onSelect(Number(row.dataset.at));
  }

  key(event) {
    const row = event.target.closest("tr");
    if (!row) return;
    const to = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (event.key === "Enter" || event.key === " ") this.select(row);
    else if (to) to.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function gauge(row) {
  if (!row.open) return el("span", { text: "waits for its entry" });
  const [up, down] = [row.percent_tp, row.percent_sl];
  const text = up > 0 || down === 0 ? `▲ ${Math.round(up)} % of the way to the target` : `▼ ${Math.round(down)} % of the way to the stop`;
  return el(
    "span",
    { class: "bknb-way" },
    el(
      "span",
      { class: "bknb-gauge", "aria-hidden": "true" },
      el("span", { class: "bknb-down", style: `width:${down / 2}%` }),
      el("span", { class: "bknb-up", style: `width:${up / 2}%` }),
    ),
    el("span", { text }),
  );
}

export function signalsTable(signals) {
  if (!signals.rows.length) return el("p", { class: "bknb-empty", text: "Nothing is open or scheduled." });
  const inPlaces = signals.rows.some((row) => row.place);
  const names = [...(inPlaces ? ["Place"] : []), "State", "Side", "Since (UTC)", "Held", "Entry", "Targets", "Stop", "Way to target or stop", "Note", "Signal"];
  const body = signals.rows.map((row) => {
    const [entry, , stop] = row.texts;
    const held = row.open ? String(+row.size.toFixed(4)) : "";
    const tds = [...(inPlaces ? [row.place] : []), row.open ? "open" : "◇ scheduled", row.side === "long" ? "long ▶" : "short ◀", moment(row.since), held, entry, row.targets.join(", ") || "N/A", stop];
    return el("tr", {}, ...tds.map((text) => el("td", { text })), el("td", {}, gauge(row)), el("td", { text: row.note }), el("td", { text: row.id }));
  });
  return plain("Open and scheduled signals", names, body);
}

function plain(caption, names, body) {
  return el(
    "div",
    { class: "bknb-scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el("caption", { class: "bknb-hidden", text: caption }),
      el("thead", {}, el("tr", {}, ...names.map((text) => el("th", { scope: "col", text })))),
      el("tbody", {}, ...body),
    ),
  );
}

export function plainTable(caption, table, empty) {
  if (!table?.rows.length) return el("p", { class: "bknb-empty", text: empty });
  return plain(
    caption,
    table.columns,
    table.rows.map((row) => el("tr", {}, ...row.map((text) => el("td", { text: String(text), class: String(text).length > 40 ? "bknb-long" : null })))),
  );
}

export function statisticsTable(figures, meanings) {
  const body = figures.map(([key, label, text, better]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", text: label }),
      el("td", { class: "bknb-number", text }),
      el("td", { class: "bknb-meaning" }, better ? el("em", { text: `${better}. ` }) : null, meanings[key] ?? ""),
    ),
  );
  return plain("Statistics with their definitions", ["Figure", "Value", "Meaning"], body);
}

export function runsTable(runs, choose) {
  const body = runs.map((run) =>
    el(
      "tr",
      { "aria-selected": String(run.selected) },
      el("td", {}, el("button", { type: "button", text: run.title, onclick: () => choose(run.key), "aria-pressed": String(run.selected) })),
      el("td", { text: run.key[0] }),
      el("td", { text: run.status === "pending" ? "running" : run.status }),
      el("td", { class: "bknb-number", text: run.percent === null ? "" : `${run.percent} %` }),
      el("td", { class: "bknb-number", text: count(run.trades) }),
      el("td", { class: "bknb-number", text: run.total }),
    ),
  );
  return plain("Runs; choose one to see it", ["Run", "Mode", "State", "Behind", "Trades", "In all"], body);
}
