// Price, equity and drawdown: three charts on one range of time.

import uPlot from "uplot";
import { count, el, moment, percent, price, setText } from "./text.js";

const WIN = "#1a9e77";
const LOSS = "#d9622b";
const BLUE = "#3b82d6";
const DEEP = "#b0657a";
const MID = "#8a8a8a";
const GRID = "rgba(128,128,128,0.2)";
const AXIS = 72;
const ADD = 0; // the kind of a fill; 1 is a part that was closed
const MOST_DRAWN = 120; // up to so many trades in view, each is drawn with its line from entry to exit
const MINUTE = 60000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
// distance of two ticks, label, and the second line of the label where a year, a month or a day begins
const DATES = [
  [365 * DAY, "{YYYY}", null, null, null, null, null, null, 1],
  [28 * DAY, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [DAY, "{DD} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [HOUR, "{HH}:{mm}", "\n{DD} {MMM} {YYYY}", null, "\n{DD} {MMM}", null, null, null, 1],
  [MINUTE, "{HH}:{mm}", "\n{DD} {MMM} {YYYY}", null, "\n{DD} {MMM}", null, null, null, 1],
];

// The range of time in view; null is everything. Every change calls `changed`, which redraws all charts.
export class Range {
  constructor(changed) {
    this.full = { min: 0, max: 1 };
    this.view = null;
    this.changed = changed;
  }

  get now() {
    return this.view ?? this.full;
  }

  set(min, max) {
    const least = 5 * MINUTE;
    if (max - min < least) {
      const middle = (min + max) / 2;
      [min, max] = [middle - least / 2, middle + least / 2];
    }
    const all = this.full.max - this.full.min;
    this.view = max - min >= all ? null : { min, max };
    this.changed();
  }

  reset() {
    this.view = null;
    this.changed();
  }

  zoom(factor, at = 0.5) {
    const { min, max } = this.now;
    const middle = min + (max - min) * at;
    this.set(middle - (middle - min) * factor, middle + (max - middle) * factor);
  }

  move(part) {
    const { min, max } = this.now;
    const step = (max - min) * part;
    if (this.view) this.set(min + step, max + step);
  }
}

function lower(times, moment) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < moment) low = middle + 1;
    else high = middle;
  }
  return low;
}

class Chart {
  constructor(range, sync, { height, series, data, xAxis = true, values, ranged = null, draw = [], onCursor = null }) {
    this.range = range;
    this.host = el("div", { class: "bknb-plot" });
    this.height = height;
    this.updating = false;
    const styled = () => getComputedStyle(this.host).color;
    this.options = {
      width: 600,
      height,
      ms: 1,
      tzDate: (ts) => uPlot.tzDate(new Date(ts), "Etc/UTC"),
      legend: { show: false },
      padding: [6, 22, 0, 0],
      cursor: {
        sync: { key: sync, setSeries: false, scales: ["x", null] },
        drag: { x: true, y: false, dist: 4 },
        points: { show: false },
        y: false,
        bind: {
          dblclick: () => () => {
            range.reset();
            return null;
          },
        },
      },
      scales: { x: { time: true }, y: ranged ? { range: ranged } : {} },
      axes: [
        {
          show: xAxis,
          stroke: styled,
          grid: { stroke: GRID, width: 1 },
          ticks: { stroke: GRID, width: 1 },
          size: 44,
          space: 60,
          values: DATES,
          font: "11px system-ui, sans-serif",
        },
        {
          stroke: styled,
          grid: { stroke: GRID, width: 1 },
          ticks: { stroke: GRID, width: 1 },
          size: AXIS,
          font: "11px system-ui, sans-serif",
          values: (_, splits) => splits.map(values),
          space: 28,
        },
      ],
      series: [{}, ...series],
      hooks: {
        draw,
        setScale: [
          (u, key) => {
            if (key !== "x" || this.updating) return;
            const { min, max } = u.scales.x;
            const now = range.now;
            if (min !== null && (Math.abs(min - now.min) > 1 || Math.abs(max - now.max) > 1)) range.set(min, max);
          },
        ],
        setCursor: onCursor ? [onCursor] : [],
      },
    };
    this.plot = new uPlot(this.options, data, this.host);
    this.plot.over.addEventListener(
      "wheel",
      (event) => {
        if (!(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        const box = this.plot.over.getBoundingClientRect();
        range.zoom(event.deltaY > 0 ? 1.25 : 0.8, (event.clientX - box.left) / box.width);
      },
      { passive: false },
    );
  }

  set(data) {
    this.data = data;
    this.draw();
  }

  draw() {
    const { min, max } = this.range.now;
    this.updating = true;
    this.plot.batch(() => {
      if (this.data) this.plot.setData(this.data, false);
      this.plot.setScale("x", { min, max });
    });
    // batch() commits in a microtask
    queueMicrotask(() => {
      this.updating = false;
    });
  }

  resize(width) {
    if (width > 0 && Math.abs(width - this.plot.width) > 1) {
      this.updating = true;
      this.plot.setSize({ width, height: this.height });
      queueMicrotask(() => {
        this.updating = false;
      });
    }
  }

  destroy() {
    this.plot.destroy();
  }
}

function clipped(u, paint) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  paint(ctx, window.devicePixelRatio || 1);
  ctx.restore();
}

function triangle(ctx, x, y, size, turn) {
  ctx.beginPath();
  for (let corner = 0; corner < 3; corner += 1) {
    const angle = turn + (corner * 2 * Math.PI) / 3;
    ctx.lineTo(x + size * Math.cos(angle), y + size * Math.sin(angle));
  }
  ctx.closePath();
  ctx.fill();
}

const RIGHT = 0;
const DOWN = Math.PI / 2;
const LEFT = Math.PI;
const UP = -Math.PI / 2;

export class PriceChart {
  constructor(range, sync, store, onSelect) {
    this.store = store;
    this.range = range;
    this.readout = el("span", { class: "bknb-readout", "aria-hidden": "true" });
    const hidden = { paths: () => null, points: { show: false } };
    this.chart = new Chart(range, sync, {
      height: 300,
      series: [hidden, hidden, hidden, hidden],
      data: [[], [], [], [], []],
      values: price,
      ranged: (u, low, high) => this.priceRange(u, low, high),
      draw: [(u) => clipped(u, (ctx, dpr) => this.paint(u, ctx, dpr))],
      onCursor: (u) => this.showReadout(u),
    });
    this.chart.plot.over.addEventListener("click", (event) => {
      const at = this.near(event);
      if (at >= 0) onSelect(at);
    });
  }

  get host() {
    return this.chart.host;
  }

  // The y range: the prices in view and the levels of open and selected trades.
  priceRange(u, low, high) {
    if (low === null || high === null) return [0, 1];
    const { trades, signals, selected } = this.store;
    const { min, max } = this.range.now;
    const levels = [];
    if (selected >= 0 && trades && trades.closed[selected] >= min && trades.opened[selected] <= max) {
      levels.push(trades.target[selected], trades.stop[selected]);
    }
    for (const row of signals.rows) if (row.since <= max) levels.push(row.target, row.stop, row.price_open);
    const { stop_time, stop_price } = this.managed();
    if (stop_time && !this.isCrowded()) {
      for (let at = Math.max(lower(stop_time, min) - 1, 0); at < stop_time.length && stop_time[at] <= max; at += 1) levels.push(stop_price[at]);
    }
    // levels far away are left out; they would flatten the price line
    const reach = 1.5 * (high - low) + 1e-12;
    for (const level of levels) {
      if (level > high && level - high < reach) high = level;
      if (level < low && low - level < reach) low = level;
    }
    const padding = (high - low) * 0.06 || Math.abs(high) * 0.01 || 1;
    return [low - padding, high + padding];
  }

  // What was managed: in detail where the view is, else thinned.
  managed() {
    const { managed, detail } = this.store;
    return this.inDetail && detail?.managed ? detail.managed : managed;
  }

  // The trades in view, from the first to before the last.
  inView() {
    const { trades } = this.store;
    const { min, max } = this.range.now;
    if (!trades) return [0, 0];
    const first = lower(trades.closed, min);
    let last = first;
    while (last < trades.closed.length && trades.opened[last] <= max) last += 1;
    return [first, last];
  }

  isCrowded() {
    const [first, last] = this.inView();
    return last - first > MOST_DRAWN;
  }

  update() {
    const { min, max } = this.range.now;
    const { bars, detail } = this.store;
    this.inDetail = Boolean(detail && this.range.view && detail.from <= min && detail.to >= max);
    this.shown = this.inDetail && detail.bars.step <= bars.step ? detail.bars : bars;
    const { time, open, high, low, close } = this.shown;
    this.chart.set([time, open, high, low, close]);
  }

  showReadout(u) {
    const at = u.cursor.idx;
    if (at === null || at === undefined || !this.shown || at >= this.shown.time.length) {
      setText(this.readout, this.shown?.length ? `each bar ${this.shown.length}` : "");
      return;
    }
    const { time, open, high, low, close, length } = this.shown;
    setText(
      this.readout,
      `${moment(time[at])} UTC (${length})  O ${price(open[at])}  H ${price(high[at])}  L ${price(low[at])}  C ${price(close[at])}`,
    );
  }

  near(event) {
    const { trades } = this.store;
    if (!trades) return -1;
    const u = this.chart.plot;
    const box = u.over.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { min, max } = this.range.now;
    let best = -1;
    let least = 14 * 14;
    for (let at = lower(trades.closed, min); at < trades.closed.length && trades.opened[at] <= max; at += 1) {
      for (const [moment_, level] of [
        [trades.opened[at], trades.price_open[at]],
        [trades.closed[at], trades.price_close[at]],
      ]) {
        const away = (u.valToPos(moment_, "x") - x) ** 2 + (u.valToPos(level, "y") - y) ** 2;
        if (away < least) [best, least] = [at, away];
      }
    }
    return best;
  }

  paint(u, ctx, dpr) {
    if (!this.shown?.time.length) return;
    const [first, last] = this.inView();
    const many = last - first > MOST_DRAWN;
    if (many) this.dots(u, ctx, dpr, first, last);
    this.candles(u, ctx, dpr);
    this.marks(u, ctx, dpr, many ? [] : [first, last]);
    if (!many) {
      this.stairs(u, ctx, dpr);
      this.fills(u, ctx, dpr);
    }
    this.levels(u, ctx, dpr);
  }

  // For more trades than MOST_DRAWN: small ▲ ▼ at the exits, behind the price.
  dots(u, ctx, dpr, first, last) {
    const { trades } = this.store;
    let [lastX, lastY] = [-1e9, -1e9];
    ctx.globalAlpha = 0.6;
    for (let at = first; at < last; at += 1) {
      const [x, y] = [u.valToPos(trades.closed[at], "x", true), u.valToPos(trades.price_close[at], "y", true)];
      if (Math.abs(x - lastX) < 2 * dpr && Math.abs(y - lastY) < 3 * dpr) continue;
      [lastX, lastY] = [x, y];
      const won = trades.pnl[at] > 0;
      ctx.fillStyle = won ? WIN : LOSS;
      triangle(ctx, x, y + (won ? -7 : 7) * dpr, 2.6 * dpr, won ? UP : DOWN);
    }
    ctx.globalAlpha = 1;
  }

  candles(u, ctx, dpr) {
    const { time, open, high, low, close, step } = this.shown;
    const { min, max } = this.range.now;
    const first = Math.max(lower(time, min) - 1, 0);
    const last = Math.min(lower(time, max) + 1, time.length);
    const x = (at) => u.valToPos(time[at], "x", true);
    const y = (value) => u.valToPos(value, "y", true);
    const wide = u.valToPos(min + step, "x", true) - u.valToPos(min, "x", true);
    if (wide < 3 * dpr) {
      ctx.strokeStyle = "rgba(128,128,128,0.55)";
      ctx.lineWidth = Math.max(1, Math.min(wide, dpr));
      ctx.beginPath();
      for (let at = first; at < last; at += 1) {
        ctx.moveTo(x(at) + wide / 2, y(high[at]));
        ctx.lineTo(x(at) + wide / 2, y(low[at]));
      }
      ctx.stroke();
      ctx.strokeStyle = MID;
      ctx.lineWidth = dpr;
      ctx.beginPath();
      for (let at = first; at < last; at += 1) ctx.lineTo(x(at) + wide / 2, y(close[at]));
      ctx.stroke();
      return;
    }
    const body = Math.max(wide * 0.7, 1);
    ctx.lineWidth = Math.max(1, Math.round(dpr));
    for (let at = first; at < last; at += 1) {
      const rising = close[at] >= open[at];
      const middle = x(at) + wide / 2;
      const [top, bottom] = [y(Math.max(open[at], close[at])), y(Math.min(open[at], close[at]))];
      ctx.strokeStyle = ctx.fillStyle = rising ? WIN : LOSS;
      ctx.beginPath();
      ctx.moveTo(middle, y(high[at]));
      ctx.lineTo(middle, top);
      ctx.moveTo(middle, bottom);
      ctx.lineTo(middle, y(low[at]));
      ctx.stroke();
      const tall = Math.max(bottom - top, 1);
      // rising is hollow, falling is filled, so that colour is not the only sign
      if (rising) ctx.strokeRect(middle - body / 2, top, body, tall);
      else ctx.fillRect(middle - body / 2, top, body, tall);
    }
  }

  marks(u, ctx, dpr, [first, last]) {
    const { trades, selected } = this.store;
    if (!trades) return;
    const x = (value) => u.valToPos(value, "x", true);
    const y = (value) => u.valToPos(value, "y", true);
    const drawn = first === undefined ? (selected >= 0 ? [selected] : []) : Array.from({ length: last - first }, (_, i) => first + i);
    const size = (drawn.length > 60 ? 4 : 6) * dpr;
    for (const at of drawn) {
      const [x0, y0, x1, y1] = [
        x(trades.opened[at]),
        y(trades.price_open[at]),
        x(trades.closed[at]),
        y(trades.price_close[at]),
      ];
      const won = trades.pnl[at] > 0;
      ctx.strokeStyle = won ? WIN : LOSS;
      ctx.lineWidth = (at === selected ? 3 : 1.5) * dpr;
      ctx.setLineDash(won ? [] : [2 * dpr, 3 * dpr]);
      ctx.beginPath();
      ctx.moveTo(x0, y0);
      ctx.lineTo(x1, y1);
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.fillStyle = BLUE;
      triangle(ctx, x0, y0, size, trades.side[at] > 0 ? RIGHT : LEFT);
      ctx.strokeStyle = won ? WIN : LOSS;
      ctx.lineWidth = 1.5 * dpr;
      const arm = size * 0.7;
      ctx.beginPath();
      ctx.moveTo(x1 - arm, y1 - arm);
      ctx.lineTo(x1 + arm, y1 + arm);
      ctx.moveTo(x1 - arm, y1 + arm);
      ctx.lineTo(x1 + arm, y1 - arm);
      ctx.stroke();
    }
  }

  // The stops that changed, each as it moved.
  stairs(u, ctx, dpr) {
    const { stop_time, stop_price } = this.managed();
    if (!stop_time?.length) return;
    const { min, max } = this.range.now;
    let at = Math.max(lower(stop_time, min) - 1, 0);
    ctx.strokeStyle = LOSS;
    ctx.lineWidth = 1.25 * dpr;
    ctx.setLineDash([4 * dpr, 3 * dpr]);
    ctx.beginPath();
    const end = Math.min(lower(stop_time, max) + 1, stop_time.length);
    for (let before = NaN; at < end; at += 1) {
      const [x, y] = [u.valToPos(stop_time[at], "x", true), u.valToPos(stop_price[at], "y", true)];
      if (Number.isFinite(stop_price[at])) {
        if (Number.isFinite(before)) ctx.lineTo(x, before);
        if (Number.isFinite(before)) ctx.lineTo(x, y);
        else ctx.moveTo(x, y);
      } else if (Number.isFinite(before)) ctx.lineTo(x, before);
      before = y;
    }
    ctx.stroke();
    ctx.setLineDash([]);
  }

  // Fills between entry and exit: + an add, a short line a part that was closed, each with its share where there is room.
  fills(u, ctx, dpr) {
    const { at: times, kind, price: prices, share } = this.managed();
    if (!times?.length) return;
    const { min, max } = this.range.now;
    const [first, last] = [lower(times, min), lower(times, max + 1)];
    const arm = (last - first > 60 ? 4 : 6) * dpr;
    ctx.strokeStyle = ctx.fillStyle = BLUE;
    ctx.lineWidth = 2 * dpr;
    ctx.font = `${11 * dpr}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    ctx.beginPath();
    for (let i = first; i < last; i += 1) {
      const [x, y] = [u.valToPos(times[i], "x", true), u.valToPos(prices[i], "y", true)];
      ctx.moveTo(x - arm, y);
      ctx.lineTo(x + arm, y);
      if (kind[i] === ADD) {
        ctx.moveTo(x, y - arm);
        ctx.lineTo(x, y + arm);
      }
      if (last - first <= 20) ctx.fillText(`${kind[i] === ADD ? "+" : "−"}${+share[i].toFixed(3)}`, x + arm + 3 * dpr, y);
    }
    ctx.stroke();
  }

  // The targets between two moments of a ladder, or that moved; returns whether there are any.
  ladder(from, to, line, end) {
    const { target_from, target_to, target_price } = this.managed();
    let any = false;
    for (let at = 0; at < (target_from?.length ?? 0); at += 1) {
      const until = Number.isFinite(target_to[at]) ? target_to[at] : end;
      if (target_from[at] < from || until > to) continue;
      line(target_from[at], until, target_price[at], WIN, [6, 3], `▲ target ${price(target_price[at])}`);
      any = true;
    }
    return any;
  }

  // The last moment and price of the stairs that began at a moment; null where that stop has not moved.
  lastStair(begin) {
    const { stop_time, stop_price } = this.managed();
    if (!stop_time?.length) return null;
    let at = lower(stop_time, begin);
    if (stop_time[at] === begin && Number.isNaN(stop_price[at])) at += 1; // the hole behind the position before
    if (stop_time[at] !== begin) return null;
    while (at + 1 < stop_time.length && Number.isFinite(stop_price[at + 1])) at += 1;
    return { at: stop_time[at], price: stop_price[at] };
  }

  // Target, stop and entry levels: of the selected trade, of open and scheduled signals, of cancelled signals.
  levels(u, ctx, dpr) {
    const { trades, signals, selected } = this.store;
    const { min, max } = this.range.now;
    const right = u.bbox.left + u.bbox.width;
    const x = (value) => Math.max(u.bbox.left, Math.min(right, u.valToPos(value, "x", true)));
    const y = (value) => u.valToPos(value, "y", true);
    ctx.font = `${11 * dpr}px system-ui, sans-serif`;
    ctx.textBaseline = "bottom";
    ctx.textAlign = "left";
    const labels = []; // one beside another where they would cover each other, and none where there is no room
    const write = (label, from, at) => {
      const wide = ctx.measureText(label).width;
      let left = Math.max(u.bbox.left + 2, Math.min(from + 3, right - wide - 4));
      const covered = () => labels.find((other) => Math.abs(other.at - at) < 12 * dpr && left < other.end && left + wide > other.left);
      for (let other = covered(); other; other = covered()) left = other.end + 8 * dpr;
      if (left + wide > right && labels.length) return;
      labels.push({ at, left, end: left + wide });
      ctx.fillText(label, left, at);
    };
    const line = (from, to, level, colour, dash, label) => {
      if (!Number.isFinite(level)) return;
      const [left, end] = [x(from), x(to)];
      ctx.strokeStyle = ctx.fillStyle = colour;
      ctx.lineWidth = 1.25 * dpr;
      ctx.setLineDash(dash.map((part) => part * dpr));
      ctx.beginPath();
      ctx.moveTo(left, y(level));
      ctx.lineTo(Math.max(end, left + 1), y(level));
      ctx.stroke();
      ctx.setLineDash([]);
      if (label) write(label, left, y(level) - 2);
    };
    for (const plan of signals.missed) {
      if (plan.to >= min && plan.from <= max) line(plan.from, plan.to, plan.price, MID, [1, 4], "");
    }
    if (selected >= 0 && trades) {
      const [from, to] = [trades.opened[selected], trades.closed[selected]];
      if (!this.ladder(from, to, line, to)) line(from, to, trades.target[selected], WIN, [6, 3], `▲ target ${price(trades.target[selected])}`);
      const moved = this.lastStair(from);
      if (moved) line(to, to, moved.price, LOSS, [], `▼ stop ${price(moved.price)}`);
      else line(from, to, trades.stop[selected], LOSS, [2, 3], `▼ stop ${price(trades.stop[selected])}`);
    }
    for (const row of signals.rows) {
      const until = Math.max(this.store.lastMoment ?? max, row.since + MINUTE);
      if (!row.open) line(row.since, until, row.price_open, BLUE, [1, 4], `◇ waits for ${price(row.price_open)}`);
      else {
        ctx.fillStyle = BLUE;
        triangle(ctx, x(row.since), y(row.price_open), 7 * dpr, row.side === "long" ? RIGHT : LEFT);
      }
      const ladder = row.open && this.ladder(row.since, until, line, until);
      if (!ladder) line(row.since, until, row.target, WIN, [6, 3], `▲ target ${price(row.target)}`);
      const moved = row.open && this.lastStair(row.since);
      line(moved ? Math.min(moved.at, until) : row.since, until, row.stop, LOSS, [2, 3], `▼ stop ${price(row.stop)}`);
    }
  }
}

export class EquityChart {
  constructor(range, sync, store) {
    this.store = store;
    this.range = range;
    this.readout = el("span", { class: "bknb-readout", "aria-hidden": "true" });
    const stepped = uPlot.paths.stepped({ align: 1 });
    const padding = (u, low, high) => {
      if (low === null || high === null) return [-1, 1];
      const more = (high - low) * 0.08 || 1;
      return [low - more, high + more];
    };
    this.equity = new Chart(range, sync, {
      height: 190,
      series: [{ stroke: BLUE, width: 2, paths: stepped, points: { show: false } }],
      data: [[], []],
      xAxis: false,
      values: (value) => `${+value.toFixed(4)} %`,
      ranged: padding,
      draw: [(u) => clipped(u, (ctx, dpr) => this.marks(u, ctx, dpr))],
      onCursor: (u) => this.showReadout(u),
    });
    this.drawdown = new Chart(range, sync, {
      height: 110,
      series: [{ stroke: DEEP, width: 1, fill: "rgba(176,101,122,0.25)", paths: stepped, points: { show: false } }],
      data: [[], []],
      values: (value) => `${+value.toFixed(4)} %`,
      ranged: (u, low, high) => {
        if (low === null) return [-1, 0];
        const padding = (high - low) * 0.1 || 0.1;
        return [low - padding, range.view ? Math.min(high + padding, 0) : 0];
      },
    });
  }

  update() {
    const { min, max } = this.range.now;
    const { equity, detail } = this.store;
    const fits = detail?.equity && this.range.view && detail.from <= min && detail.to >= max;
    this.shown = fits ? detail.equity : equity;
    this.equity.set([this.shown.time, this.shown.equity]);
    this.drawdown.set([this.shown.drawdown_time, this.shown.drawdown]);
  }

  showReadout(u) {
    const at = u.cursor.idx;
    const text = at === null || at === undefined || !this.shown || at >= this.shown.time.length;
    setText(this.readout, text ? "" : `${moment(this.shown.time[at])} UTC  equity ${percent(this.shown.equity[at])}`);
  }

  // Each trade on the equity line: ▲ won, ▼ lost.
  marks(u, ctx, dpr) {
    const { trades } = this.store;
    const shown = this.shown;
    if (!trades || !shown?.time.length) return;
    const { min, max } = this.range.now;
    const first = lower(trades.closed, min);
    const last = lower(trades.closed, max + 1);
    if (last - first > 400) return;
    const size = (last - first > 120 ? 3.5 : 5) * dpr;
    for (let at = first; at < last; at += 1) {
      const place = lower(shown.time, trades.closed[at] + 1) - 1;
      if (place < 0) continue;
      const won = trades.pnl[at] > 0;
      ctx.fillStyle = won ? WIN : LOSS;
      triangle(ctx, u.valToPos(trades.closed[at], "x", true), u.valToPos(shown.equity[place], "y", true), size, won ? UP : DOWN);
    }
  }

  describe() {
    return this.store.equity.text ?? "";
  }
}

export function describePrice(store) {
  const { bars, trades, managed } = store;
  if (!bars.time.length) return "no prices yet";
  let [low, high] = [Infinity, -Infinity];
  for (const value of bars.low) low = Math.min(low, value);
  for (const value of bars.high) high = Math.max(high, value);
  const made = trades ? `${count(trades.closed.length)} trades marked` : "no trades";
  const parts = managed.fills ? `, ${count(managed.fills)} adds or parts closed` : "";
  return `from ${moment(bars.time[0])} to ${moment(bars.time[bars.time.length - 1])} UTC, between ${price(low)} and ${price(high)}, ${made}${parts}`;
}
