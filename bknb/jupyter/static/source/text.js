// Numbers, moments, and small pieces of HTML.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function moment(ms, seconds = false) {
  if (!Number.isFinite(ms)) return "";
  return new Date(ms).toISOString().slice(0, seconds ? 19 : 16).replace("T", " ");
}

export function decimals(price) {
  const size = Math.abs(price);
  if (size >= 1 || size === 0) return 2;
  return size >= 0.1 ? 4 : size >= 0.01 ? 6 : 8;
}

const made = new Map();
function digits(places) {
  if (!made.has(places)) {
    made.set(places, new Intl.NumberFormat("en-US", { minimumFractionDigits: places, maximumFractionDigits: places }));
  }
  return made.get(places);
}

export function price(value) {
  return Number.isFinite(value) ? digits(decimals(value)).format(value) : "N/A";
}

export function percent(value, places = 2) {
  if (!Number.isFinite(value)) return "N/A";
  const text = value.toFixed(places);
  return `${value > 0 && Number(text) !== 0 ? "+" : ""}${Number(text) === 0 ? (0).toFixed(places) : text} %`;
}

// A result in percent, or in points where a position opened at or below zero.
export function result(trades, at) {
  const value = trades.pnl[at];
  if (trades.unit !== "points") return percent(value);
  return Number.isFinite(value) ? `${value > 0 ? "+" : ""}${price(value)} points` : "N/A";
}

export function count(value) {
  return digits(0).format(value);
}

export function duration(minutes) {
  if (minutes < 120) return `${Math.round(minutes)} min`;
  return minutes < 2880 ? `${(minutes / 60).toFixed(1)} h` : `${(minutes / 1440).toFixed(1)} d`;
}

export const sign = (value) => (value > 0 ? "▲" : value < 0 ? "▼" : "•");

const KINDS = { f8: Float64Array, f4: Float32Array, i1: Int8Array };

// An array as it was received: {f8: bytes}, or {f8: number of a buffer} in a message.
export function array(packed, buffers = null) {
  if (!packed) return new Float64Array(0);
  const [kind, value] = Object.entries(packed)[0];
  const view = typeof value === "number" ? buffers[value] : value;
  const start = view.byteOffset || 0;
  const bytes = view.buffer ? view.buffer.slice(start, start + view.byteLength) : view;
  return new KINDS[kind](bytes);
}
