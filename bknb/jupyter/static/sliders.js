// Sliders over the parameters of a strategy; the source of stored.js stands before this.
//
// A move sends the places of all sliders, and while its answer is awaited no other: what has moved since then is sent when the answer
// has come, so the kernel computes no combination that nobody waits for. An answer is the trait `shown`, which every browser has:
//   { at, view, number, html, kept, params }

const BKNB_SLOW_MS = 250; // an answer that takes longer is announced
const BKNB_SILENT_MS = 10000;
const BKNB_SETTLED_MS = 900; // sliders that rest so long are stored in the notebook
const BKNB_KEYS = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"]);
let bknbSliders = 0;

function bknbNotebook(model) {
  try {
    const notebook = model.widget_manager.context.model;
    return typeof notebook.sharedModel.insertCells === "function" ? notebook.sharedModel : null;
  } catch {
    return null;
  }
}

function bknbElement(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

class SlidersView {
  constructor(model, host) {
    this.model = model;
    this.id = `bknb-sliders-${(bknbSliders += 1)}-${Math.random().toString(36).slice(2, 8)}`;
    this.number = 0;
    this.waiting = 0; // the number of the combination that was asked for and has not come
    this.held = false; // a pointer holds a slider
    this.focused = null;
    this.root = bknbElement("div", { class: "bknb-sliders", role: "region", "data-lm-suppress-shortcuts": "true" });
    this.root.setAttribute("aria-label", model.get("title"));
    host.append(this.root);
    this.build();
    this.changed = () => this.answer();
    this.lost = () => this.lose();
    model.on("change:shown", this.changed);
    model.on("comm_live_update", this.lost);
    this.wanted = [...model.get("shown").at];
    this.draw();
    this.panelOf(model.get("shown").html);
  }

  build() {
    this.inputs = [];
    this.outputs = [];
    const rows = bknbElement("div", { class: "bknb-rows" });
    this.model.get("sliders").forEach(({ name, texts }, which) => {
      const id = `${this.id}-${which}`;
      const input = bknbElement("input", { id, type: "range", min: "0", max: String(texts.length - 1), step: "1" });
      input.addEventListener("input", () => this.moved(which, Number(input.value)));
      input.addEventListener("pointerdown", () => (this.held = true));
      for (const end of ["pointerup", "pointercancel", "change"]) input.addEventListener(end, () => this.released());
      input.addEventListener("keydown", (event) => BKNB_KEYS.has(event.key) && event.stopPropagation()); // the notebook has its own use
      input.addEventListener("focus", () => (this.focused = input));
      input.addEventListener("blur", () => {
        if (input.isConnected && document.hasFocus()) queueMicrotask(() => input.isConnected && (this.focused = null));
      });
      const output = bknbElement("output", { for: id });
      const ends = bknbElement("span", { class: "bknb-ends", "aria-hidden": "true" }, `${texts[0]} … ${texts[texts.length - 1]}`);
      rows.append(bknbElement("label", { for: id }, name), input, output, ends);
      this.inputs.push(input);
      this.outputs.push(output);
    });
    this.keep = bknbElement("button", { type: "button", class: "bknb-keep" }, "Keep this one");
    this.keep.addEventListener("click", () => this.keepThis());
    this.status = bknbElement("span", { class: "bknb-status", role: "status" });
    this.line = bknbElement("pre", { class: "bknb-kept", tabindex: "0", "aria-label": "The cell that runs this combination" });
    this.line.hidden = true;
    this.panel = bknbElement("div", { class: "bknb-panel" });
    const title = bknbElement("div", { class: "bknb-title" }, this.model.get("title"));
    this.root.append(title, rows, bknbElement("div", { class: "bknb-bar" }, this.keep, this.status), this.line, this.panel);
  }

  draw() {
    this.model.get("sliders").forEach(({ texts }, which) => {
      const at = this.wanted[which];
      if (Number(this.inputs[which].value) !== at) this.inputs[which].value = String(at);
      this.inputs[which].setAttribute("aria-valuetext", texts[at]);
      this.outputs[which].textContent = texts[at];
    });
  }

  // -- moves and answers -----------------------------------------------------------------------------------------

  moved(which, at) {
    this.wanted[which] = at;
    this.line.hidden = true;
    this.draw();
    clearTimeout(this.settling);
    if (!this.waiting) this.ask();
  }

  released() {
    this.held = false;
    this.settle();
  }

  ask() {
    this.waiting = this.number += 1;
    this.root.dataset.waiting = String(this.waiting);
    clearTimeout(this.slow);
    clearTimeout(this.silent);
    this.slow = setTimeout(() => this.say(this.isBusy() ? "The kernel is busy with a cell; this combination follows." : "Computing …"), BKNB_SLOW_MS);
    this.silent = setTimeout(() => this.showSilence(), BKNB_SILENT_MS);
    this.model.send({ kind: "move", at: this.wanted, view: this.id, number: this.waiting });
  }

  answer() {
    const shown = this.model.get("shown");
    if (shown.view === this.id && shown.number === this.waiting) {
      this.waiting = 0;
      delete this.root.dataset.waiting;
      clearTimeout(this.slow);
      clearTimeout(this.silent);
      this.say("");
      if (shown.at.some((place, which) => place !== this.wanted[which])) this.ask();
      else this.settle();
    } else if (!this.waiting && !this.held) {
      this.wanted = [...shown.at]; // moved in another browser
      this.line.hidden = true;
      this.draw();
    }
    this.panelOf(shown.html);
  }

  settle() {
    clearTimeout(this.settling);
    if (this.held || this.waiting || !this.number) return;
    this.settling = setTimeout(() => this.model.send({ kind: "settle", view: this.id, number: this.number }), BKNB_SETTLED_MS);
  }

  isBusy() {
    return this.model.widget_manager?.kernel?.status === "busy";
  }

  showSilence() {
    this.root.dataset.state = "silent";
    this.say(
      this.isBusy()
        ? "The kernel is busy with a cell; this combination follows."
        : "The kernel does not answer. If it was restarted, run the cell again.",
    );
  }

  // The connection of the widget has ended, as at a restart of the kernel.
  lose() {
    for (const timer of [this.slow, this.silent, this.settling]) clearTimeout(timer);
    for (const input of [...this.inputs, this.keep]) input.disabled = true;
    this.waiting = 0;
    this.say("The kernel was restarted or has ended: run the cell again to move the sliders.");
    this.root.dataset.state = "gone";
  }

  say(text) {
    if (this.status.textContent !== text) this.status.textContent = text;
    if (!text) delete this.root.dataset.state;
  }

  // The panel that the kernel has made, once its pictures can be drawn: without it they would flicker.
  async panelOf(html) {
    const made = bknbElement("div");
    made.innerHTML = html; // made by bknb, every text in it escaped
    this.newest = made;
    await Promise.all([...made.querySelectorAll("img")].map((image) => image.decode().catch(() => {})));
    if (this.newest !== made) return;
    this.panel.replaceChildren(made);
    this.root.dataset.drawn = this.model.get("shown").at.join(" ");
  }

  // -- keeping ---------------------------------------------------------------------------------------------------

  async keepThis() {
    const { kept, params } = this.model.get("shown");
    if (this.waiting) {
      this.say("This combination is still being computed; press again when it is there.");
      return;
    }
    this.line.hidden = true;
    this.line.textContent = kept || params;
    if (!kept) {
      this.line.hidden = false;
      this.say("--params of the cell is a variable: give it these values.");
      return;
    }
    const cells = bknbNotebook(this.model);
    if (cells) {
      const own = this.model.get("cell_id");
      const at = cells.cells.findIndex((cell) => cell.getId() === own);
      cells.insertCells(at < 0 ? cells.cells.length : at + 1, [{ cell_type: "code", source: kept, metadata: {} }]);
      this.say("A cell that runs this combination was inserted below; it was not run.");
      return;
    }
    this.line.hidden = false;
    try {
      await navigator.clipboard.writeText(kept);
      this.say("The cell that runs this combination was copied.");
    } catch {
      this.say("This is the cell that runs this combination.");
    }
  }

  // -- the page around it ----------------------------------------------------------------------------------------

  // The notebook has rewritten the output: the slider that had the focus has it again.
  redrawIfDirty() {
    const lost = this.focused && this.root.isConnected && document.activeElement === document.body;
    if (lost) this.focused.focus({ preventScroll: true });
  }

  destroy() {
    this.model.off("change:shown", this.changed);
    this.model.off("comm_live_update", this.lost);
    for (const timer of [this.slow, this.silent, this.settling]) clearTimeout(timer);
    this.root.remove();
  }
}

export default {
  initialize({ model }) {
    const outputs = new StoredOutputs(model, (host) => new SlidersView(model, host));
    return () => outputs.close();
  },
  render({ model, el }) {
    const view = new SlidersView(model, el);
    return () => view.destroy();
  },
};
