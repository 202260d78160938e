// The dashboard: what comes from Python is kept in a store, and drawn at most once per frame of the screen.

/* global mountControls, StoredOutputs */
import { EquityChart, PriceChart, Range, describePrice } from "./charts.js";
import { TradesTable, plainTable, runsTable, signalsTable, statisticsTable } from "./tables.js";
import { array, el, moment, percent, result, setText, sign } from "./text.js";

const TABS = {
  trades: "Trades",
  signals: "Open and scheduled",
  statistics: "Statistics",
  risk: "Risk refusals",
  milestones: "Milestones",
  problems: "Errors and warnings",
  timings: "Timings",
  walker: "Ranking",
};
const EMPTY = {
  risk: "No risk profile has refused anything.",
  milestones: "No position has come 10 % of its way yet.",
  problems: "No error, no warning.",
  timings: "Nothing has been timed yet.",
  walker: "No comparison has been ranked yet.",
};
const ONLY_WHEN_FILLED = ["walker"];
const HOW = "Drag to zoom, double click for all; arrows, + − 0 on the keyboard.";
const ANNOUNCE_MS = 10000;
let made = 0;
// the range, tab and selection of a widget, kept for its next view
const viewStates = new WeakMap();

function bars(packed, buffers = null) {
  const out = { step: packed?.step ?? 60000, length: packed?.length ?? "" };
  for (const name of ["time", "open", "high", "low", "close"]) out[name] = array(packed?.[name], buffers);
  return out;
}

function equity(packed, buffers = null) {
  const out = { text: packed?.text ?? "", missing: packed?.missing ?? "" };
  for (const name of ["time", "equity", "drawdown_time", "drawdown"]) out[name] = array(packed?.[name], buffers);
  return out;
}

const COLUMNS = ["reason", "side", "ambiguous", "opened", "closed", "price_open", "price_close", "target", "stop", "pnl", "peak", "trough"];

function trades(packed) {
  if (!packed?.ids) return null;
  const out = { count: packed.count, ids: packed.ids, notes: packed.notes, places: packed.places, reasons: packed.reasons, unit: packed.unit };
  for (const name of COLUMNS) out[name] = array(packed[name]);
  if (packed.fills) for (const name of ["fills", "average"]) out[name] = array(packed[name]);
  return out;
}

const MANAGED = ["kind", "at", "price", "share", "stop_time", "stop_price", "target_from", "target_to", "target_price"];

function managed(packed, buffers = null) {
  if (!packed?.at) return { fills: 0 };
  const out = { fills: packed.fills };
  for (const name of MANAGED) out[name] = array(packed[name], buffers);
  return out;
}

class View {
  constructor(model, host) {
    this.model = model;
    this.id = `bknb-${(made += 1)}-${Math.random().toString(36).slice(2, 8)}`;
    this.dirty = new Set(["head", "bars", "equity", "trades", "signals", "managed", "figures", "tables", "runs"]);
    this.frames = 0;
    this.announcedAt = 0;
    this.lastRequest = 0;
    this.store = { bars: bars(null), equity: equity(null), trades: null, signals: { rows: [], missed: [] }, managed: managed(null), selected: -1, detail: null };
    this.range = new Range(() => this.onRange());
    this.panels = model.get("panels");
    this.root = el("div", { class: "bknb-dashboard", role: "region", "aria-label": "bknb dashboard", id: this.id, "data-lm-suppress-shortcuts": "true" });
    host.append(this.root);
    this.build();
    this.bind();
    this.restoreState();
    this.queue();
  }

  restoreState() {
    const state = viewStates.get(this.model);
    if (!state) return;
    this.range.view = state.view;
    this.wantedTrade = state.trade;
    if (state.opened && this.names?.includes(state.opened)) this.open(state.opened);
    if (this.table && state.table) Object.assign(this.table, state.table);
  }

  saveState() {
    const { sort, page, outcome, filter } = this.table ?? {};
    viewStates.set(this.model, {
      view: this.range.view,
      opened: this.opened,
      trade: this.store.trades?.ids[this.store.selected],
      table: this.table ? { sort, page, outcome, filter } : null,
    });
  }

  has(panel) {
    return this.panels.includes(panel);
  }

  // -- building ------------------------------------------------------------------------------------------------

  build() {
    if (this.has("runs")) {
      this.runs = el("div");
      this.root.append(el("section", { "aria-label": "Runs" }, this.runs));
    }
    if (this.has("status")) this.buildHead();
    if (this.has("price")) this.buildPrice();
    if (this.has("equity")) this.buildEquity();
    this.buildTabs();
  }

  buildHead() {
    this.title = el("div", { class: "bknb-title" });
    this.text = el("div", { class: "bknb-text", "aria-hidden": "true" });
    this.announcer = el("div", { class: "bknb-hidden", role: "status" });
    this.fill = el("div");
    this.progress = el(
      "div",
      { class: "bknb-progress", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": "Part of the run that is behind" },
      this.fill,
    );
    this.buttons = el("div");
    this.facts = el("dl", { class: "bknb-facts" });
    this.time = el("p", { class: "bknb-time" });
    this.time.hidden = true;
    this.root.append(el("section", { class: "bknb-head", "aria-label": "Status" }, this.title, this.text, this.announcer, this.progress, this.buttons, this.facts, this.time));
    this.showButtons();
  }

  // mountControls comes from controls.js, which precedes this file in the module of the widget.
  showButtons() {
    const { id, state } = this.model.get("controls") ?? {};
    const wanted = id && state !== "over" ? id : null;
    if (wanted === this.controlsId) return;
    this.controlsId = wanted;
    this.unmount?.();
    this.unmount = wanted && typeof mountControls === "function" ? mountControls({ model: this.model, el: this.buttons }) : null;
  }

  tools(readout) {
    const button = (text, label, act) => el("button", { type: "button", text, title: label, "aria-label": label, onclick: act });
    return el(
      "div",
      { class: "bknb-bar" },
      button("◀", "Earlier", () => this.range.move(-0.5)),
      button("▶", "Later", () => this.range.move(0.5)),
      button("+", "Zoom in", () => this.range.zoom(0.5)),
      button("−", "Zoom out", () => this.range.zoom(2)),
      button("All", "Show the whole run", () => this.range.reset()),
      el("span", { class: "bknb-grow" }),
      readout,
    );
  }

  chartBox(label, hosts) {
    const box = el("div", {
      class: "bknb-chart",
      tabindex: "0",
      role: "group",
      "aria-label": label,
      onkeydown: (event) => {
        const act = {
          ArrowLeft: () => this.range.move(-0.2),
          ArrowRight: () => this.range.move(0.2),
          "+": () => this.range.zoom(0.6),
          "=": () => this.range.zoom(0.6),
          "-": () => this.range.zoom(1.6),
          0: () => this.range.reset(),
        }[event.key];
        if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        event.stopPropagation();
        act();
      },
    });
    box.append(...hosts);
    return box;
  }

  buildPrice() {
    this.price = new PriceChart(this.range, this.id, this.store, (at) => this.selectTrade(at));
    this.priceBox = this.chartBox("Price", [this.price.host]);
    this.priceText = el("p", { class: "bknb-hidden" });
    this.legend = el("p", { class: "bknb-legend" });
    this.root.append(
      el("section", { "aria-label": "Price" }, el("h4", { text: "Price" }), this.tools(this.price.readout), this.priceBox, this.priceText, this.legend),
    );
    this.showLegend();
  }

  showLegend() {
    const managed = this.store.managed.at ? "  + added  ━ part closed  ╌ stop as it moved" : "";
    if (this.legend) setText(this.legend, `▶ long entry  ◀ short entry  ✕ exit  — won  ┄ lost  ◇ scheduled${managed}. ${HOW}`);
  }

  buildEquity() {
    this.money = new EquityChart(this.range, this.id, this.store);
    this.moneyBox = this.chartBox("Equity and drawdown", [this.money.equity.host, this.money.drawdown.host]);
    this.moneyText = el("p", { class: "bknb-hidden" });
    this.noMoney = el("p", { class: "bknb-empty" });
    const alone = this.has("price") ? el("div", { class: "bknb-bar" }, el("span", { class: "bknb-grow" }), this.money.readout) : this.tools(this.money.readout);
    this.root.append(
      el("section", { "aria-label": "Equity and drawdown" }, el("h4", { text: "Equity and drawdown, %" }), alone, this.noMoney, this.moneyBox, this.moneyText),
    );
  }

  buildTabs() {
    this.names = Object.keys(TABS).filter((name) => this.has(name));
    if (!this.names.length) return;
    this.tabs = {};
    this.pages = {};
    const list = el("div", { role: "tablist", "aria-label": "Tables", class: "bknb-tabs" });
    const section = el("section", { "aria-label": "Tables" }, list);
    for (const name of this.names) {
      const tab = el("button", {
        type: "button",
        role: "tab",
        id: `${this.id}-tab-${name}`,
        "aria-controls": `${this.id}-page-${name}`,
        text: TABS[name],
        onclick: () => this.open(name),
        onkeydown: (event) => {
          const shown = this.names.filter((each) => !this.tabs[each].hidden);
          const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
          if (!step) return;
          event.preventDefault();
          event.stopPropagation();
          const to = shown[(shown.indexOf(name) + step + shown.length) % shown.length];
          this.open(to);
          this.tabs[to].focus();
        },
      });
      this.tabs[name] = tab;
      this.pages[name] = el("div", { role: "tabpanel", id: `${this.id}-page-${name}`, "aria-labelledby": tab.id, class: "bknb-page" });
      list.append(tab);
      section.append(this.pages[name]);
    }
    if (this.has("trades")) {
      this.table = new TradesTable(this.store, (at) => this.selectTrade(at));
      this.story = el("pre", { class: "bknb-story", role: "region", "aria-label": "Story of the chosen trade", "aria-live": "polite", tabindex: "0" });
      this.story.hidden = true;
      this.pages.trades.append(this.story, this.table.node);
    }
    this.root.append(section);
    this.opened = this.has("walker") && !this.has("trades") ? "walker" : this.names[0];
    this.open(this.opened);
  }

  open(name) {
    this.opened = name;
    for (const each of this.names) {
      const mine = each === name;
      this.tabs[each].setAttribute("aria-selected", String(mine));
      this.tabs[each].tabIndex = mine ? 0 : -1;
      this.pages[each].hidden = !mine;
    }
    this.markDirty("trades", "signals", "figures", "tables");
  }

  // -- messages ------------------------------------------------------------------------------------------------

  bind() {
    const names = ["head", "bars", "equity", "trades", "signals", "managed", "figures", "tables", "runs"];
    this.listeners = names.map((name) => {
      const listener = () => this.markDirty(name);
      this.model.on(`change:${name}`, listener);
      return [`change:${name}`, listener];
    });
    const pressed = () => this.title && this.showButtons();
    this.model.on("change:controls", pressed);
    this.listeners.push(["change:controls", pressed]);
    const message = (content, buffers) => this.message(content, buffers);
    this.model.on("msg:custom", message);
    this.listeners.push(["msg:custom", message]);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.root);
    this.theme = new MutationObserver(() => this.draw());
    this.theme.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind"] });
  }

  send(content) {
    try {
      this.model.send({ ...content, view: this.id });
    } catch {
      // the kernel is gone; the dashboard keeps what it has
    }
  }

  message(content, buffers) {
    if (content.view !== this.id) return;
    if (content.kind === "window" && content.request === this.lastRequest) {
      this.store.detail = {
        from: content.from,
        to: content.to,
        bars: bars(content.bars, buffers),
        equity: content.equity ? equity(content.equity, buffers) : null,
        managed: content.managed ? managed(content.managed, buffers) : null,
      };
      this.draw();
      this.root.dataset.detail = String(this.store.detail.bars.step);
    } else if (content.kind === "story" && this.store.trades?.ids[this.store.selected] === content.id) {
      setText(this.story, content.text);
    }
  }

  // A notebook removes cells that are scrolled far away from the page, and puts them back.
  redrawIfDirty() {
    if (this.dirty.size) this.queue();
  }

  markDirty(...names) {
    for (const name of names) this.dirty.add(name);
    this.queue();
  }

  queue() {
    if (this.waiting || this.gone || !this.root.isConnected) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      this.refresh();
    });
  }

  // -- drawing -------------------------------------------------------------------------------------------------

  refresh() {
    const { dirty, store, model } = this;
    const head = model.get("head") ?? {};
    this.dirty = new Set();
    const fresh = (name) => dirty.has(name);
    if (fresh("head")) {
      if (head.span) this.range.full = { min: head.span[0], max: Math.max(head.span[1], head.span[0] + 1) };
      store.lastMoment = head.last ?? head.span?.[1];
      this.showHead(head);
    }
    if (fresh("bars")) {
      store.bars = bars(model.get("bars"));
      if (this.range.view && head.mode === "live") this.requestDetail();
    }
    if (fresh("equity")) {
      store.equity = equity(model.get("equity"));
      if (this.range.view && store.detail) store.detail.equity = null;
    }
    if (fresh("trades")) this.keepSelection(() => (store.trades = trades(model.get("trades"))));
    if (fresh("signals")) store.signals = model.get("signals")?.rows ? model.get("signals") : { rows: [], missed: [] };
    if (fresh("managed")) {
      store.managed = managed(model.get("managed"));
      if (store.detail) store.detail.managed = null;
      if (this.range.view && store.managed.at) this.requestDetail();
      this.showLegend();
    }
    if (this.runs && fresh("runs")) this.runs.replaceChildren(runsTable(model.get("runs") ?? [], (key) => this.send({ kind: "select", key })));
    if (["head", "bars", "equity", "trades", "signals", "managed"].some(fresh)) this.draw();
    if (this.names?.length) this.showPage(fresh);
    this.root.dataset.frames = String((this.frames += 1));
  }

  keepSelection(replace) {
    const { store } = this;
    const id = store.trades?.ids[store.selected] ?? this.wantedTrade;
    replace();
    store.selected = id === undefined || !store.trades ? -1 : store.trades.ids.indexOf(id);
    if (this.wantedTrade !== undefined && store.selected >= 0) {
      this.wantedTrade = undefined;
      this.showStory(store.selected);
      if (this.range.view) this.requestDetail();
    }
  }

  showHead(head) {
    for (const [name, tab] of Object.entries(this.tabs ?? {})) {
      const many = head.counts?.[name];
      setText(tab, many === undefined ? TABS[name] : `${TABS[name]} (${many})`);
      tab.hidden = ONLY_WHEN_FILLED.includes(name) && !many && this.names.length > 1;
    }
    if (!this.title) return;
    setText(this.title, head.title ?? "");
    setText(this.text, head.text ?? "");
    this.root.dataset.status = head.status ?? "";
    const known = head.fraction !== null && head.fraction !== undefined;
    this.progress.hidden = !known;
    if (known) {
      const part = Math.floor(100 * head.fraction);
      this.fill.style.width = `${100 * head.fraction}%`;
      this.progress.setAttribute("aria-valuenow", String(part));
    }
    const facts = JSON.stringify(head.facts ?? {});
    if (facts !== this.lastFacts) {
      this.lastFacts = facts;
      this.facts.replaceChildren(...Object.entries(head.facts ?? {}).flatMap(([name, text]) => [el("dt", { text: name }), el("dd", { text })]));
    }
    this.followClock(head);
    // a screen reader is given a new text on a new status, or after ANNOUNCE_MS
    if (head.status !== this.announcedStatus || performance.now() - this.announcedAt > ANNOUNCE_MS) {
      this.announcedStatus = head.status;
      this.announcedAt = performance.now();
      setText(this.announcer, `${head.title}: ${head.text}`);
    }
  }

  // The clock of a live run, and the seconds since its last minute.
  followClock(head) {
    const live = head.mode === "live" && head.status === "pending";
    this.time.hidden = !live;
    if (!live) {
      clearInterval(this.clock);
      this.clock = null;
      return;
    }
    if (head.last !== this.lastTick) {
      this.lastTick = head.last;
      this.lastTickAt = Date.now();
    }
    const tick = () => {
      const ago = Math.round((Date.now() - (this.lastTickAt ?? Date.now())) / 1000);
      const late = ago > 150 ? "⚠ " : "";
      setText(this.time, `Clock ${moment(Date.now(), true)} UTC · ${late}last update ${ago} s ago`);
    };
    tick();
    this.clock ??= setInterval(tick, 1000);
  }

  showPage(fresh) {
    const name = this.opened;
    const page = this.pages[name];
    const { model, store } = this;
    if (name === "trades") {
      if (fresh("trades")) this.table.update();
    } else if (name === "signals") {
      if (fresh("signals")) page.replaceChildren(signalsTable(store.signals));
    } else if (name === "statistics") {
      if (fresh("figures")) this.keepScroll(page, statisticsTable(model.get("figures") ?? [], model.get("meanings") ?? {}));
    } else if (fresh("tables")) {
      this.keepScroll(page, plainTable(TABS[name], (model.get("tables") ?? {})[name], EMPTY[name]));
    }
  }

  keepScroll(page, node) {
    const before = page.firstElementChild?.scrollTop ?? 0;
    const focused = page.contains(document.activeElement);
    page.replaceChildren(node);
    node.scrollTop = before;
    if (focused) node.focus?.({ preventScroll: true });
  }

  resize() {
    const width = Math.floor(this.root.querySelector(".bknb-chart")?.clientWidth ?? 0);
    if (!width) return;
    for (const chart of this.charts()) chart.resize(width);
    const before = this.width ?? this.model.get("points");
    this.width = width;
    // the first bars were made before the width was known
    if (Math.abs(width - before) > 250) this.send({ kind: "width", points: width });
  }

  charts() {
    return [this.price?.chart, this.money?.equity, this.money?.drawdown].filter(Boolean);
  }

  draw() {
    this.price?.update();
    this.money?.update();
    const { min, max } = this.range.now;
    this.root.dataset.from = String(Math.round(min));
    this.root.dataset.to = String(Math.round(max));
    if (this.price) setText(this.priceText, describePrice(this.store));
    if (this.money) {
      setText(this.moneyText, this.money.describe());
      setText(this.noMoney, this.store.equity.missing);
      this.noMoney.hidden = !this.store.equity.missing;
      this.moneyBox.hidden = !this.noMoney.hidden;
    }
  }

  onRange() {
    this.draw();
    if (this.range.view) this.requestDetail();
  }

  requestDetail() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { min, max } = this.range.now;
      const more = (max - min) * 0.5; // so that a small move needs no new request
      this.lastRequest += 1;
      this.send({ kind: "window", request: this.lastRequest, from: min - more, to: max + more, points: Math.max(Math.round((this.width ?? 1000) / 2), 200) });
    }, 90);
  }

  // -- selection -----------------------------------------------------------------------------------------------

  selectTrade(at) {
    const t = this.store.trades;
    if (!t || at < 0 || at >= t.ids.length) return;
    this.store.selected = at;
    this.root.dataset.selected = t.ids[at];
    const duration = t.closed[at] - t.opened[at];
    const margin = Math.max(1.5 * duration, 30 * 60000);
    this.range.set(t.opened[at] - margin, t.closed[at] + margin);
    this.table?.update();
    this.showStory(at);
  }

  showStory(at) {
    const t = this.store.trades;
    if (!this.story) return;
    this.story.hidden = false;
    setText(this.story, this.short(t, at));
    this.send({ kind: "story", id: t.ids[at] });
  }

  // The first lines, shown until the whole story arrives from Python.
  short(t, at) {
    const side = t.side[at] > 0 ? "long" : "short";
    return `${t.ids[at]}\n${side} from ${moment(t.opened[at])} to ${moment(t.closed[at])} UTC, ${t.reasons[t.reason[at]].replaceAll("_", " ")}, ${sign(t.pnl[at])} ${result(t, at)}`;
  }

  destroy() {
    this.gone = true;
    this.saveState();
    this.unmount?.();
    clearInterval(this.clock);
    cancelAnimationFrame(this.waiting);
    clearTimeout(this.timer);
    for (const [name, listener] of this.listeners) this.model.off(name, listener);
    this.observer.disconnect();
    this.theme.disconnect();
    for (const chart of this.charts()) chart.destroy();
    this.root.remove();
  }
}

export default {
  initialize({ model }) {
    // StoredOutputs comes from stored.js, which precedes this file in the module of the widget
    const outputs = new StoredOutputs(model, (host) => new View(model, host));
    return () => outputs.close();
  },
  render({ model, el: host }) {
    const view = new View(model, host);
    return () => view.destroy();
  },
};
