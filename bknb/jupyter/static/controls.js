// Buttons of a run: stop, stop now, pause and resume, also while the kernel is busy with a cell.
//
// mountControls({ model, el, key }) draws them from model.get(key):
//   { id, label, state, status_text, text, percent, foreground, can_pause, by_hand }
// and takes them away again when the function it returns is called. by_hand has a row [action, text, title, signal] for each
// decision that can be made by hand about that signal; its button wants a second click, while the same signal is there.
// A press tries, in this order:
//   1. a message on the widget's own comm; the kernel acknowledges it;
//   2. after 250 ms without an answer (100 ms while a cell runs) one silent line of Python in a subshell, or on the control channel
//      where the kernel has no subshells;
//   3. the kernel's interrupt, if the cell waits for this run: the run ends at its next minute.
// Every press carries a number, so a message that arrives late is not applied twice.

const BKNB_ACK_TIMEOUT_MS = { idle: 250, busy: 100 };
const BKNB_REPLY_TIMEOUT_MS = 2000;
const BKNB_CONFIRM_MS = 5000; // a second click within this time confirms

const BKNB_STYLE = `
.bknb-controls { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 8px; padding: 4px 0; max-width: 100%;
  color: var(--jp-ui-font-color1, inherit); font-family: var(--jp-ui-font-family, system-ui, sans-serif);
  font-size: var(--jp-ui-font-size1, 13px); }
.bknb-controls .bknb-line { flex: 1 1 100%; min-width: 0; overflow-wrap: anywhere; }
.bknb-controls .bknb-track { flex: 1 1 100%; max-width: 420px; height: 8px; border-radius: 4px; overflow: hidden;
  background: var(--jp-layout-color3, rgba(128, 128, 128, 0.25)); }
.bknb-controls .bknb-fill { height: 100%; width: 0; background: var(--jp-brand-color1, #1976d2); }
.bknb-controls button { font: inherit; color: inherit; cursor: pointer; padding: 3px 10px; border-radius: 3px;
  background: var(--jp-layout-color2, rgba(128, 128, 128, 0.12)); border: 1px solid var(--jp-border-color1, #999); }
.bknb-controls button:hover:not([aria-disabled="true"]) { background: var(--jp-layout-color3, rgba(128, 128, 128, 0.25)); }
.bknb-controls button:focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; }
.bknb-controls button[aria-disabled="true"] { opacity: 0.5; cursor: default; }
.bknb-controls button[data-armed="true"] { border-color: var(--jp-error-color1, #c62828); outline: 1px solid var(--jp-error-color1, #c62828); }
.bknb-controls .bknb-by-hand button + button { margin-left: 8px; }
.bknb-controls .bknb-status { flex: 1 1 12em; min-width: 0; color: var(--jp-ui-font-color2, inherit); }
`;

function bknbWithin(promise, milliseconds) {
  return Promise.race([
    promise.then(() => true, () => false),
    new Promise((resolve) => setTimeout(() => resolve(false), milliseconds)),
  ]);
}

// Run one silent line of Python while the kernel is busy; true when the kernel answered "ok".
async function bknbRunOutOfBand(kernel, code) {
  const subshells = kernel.supportsSubshells && kernel.requestCreateSubshell;
  if (subshells ? !kernel.sendShellMessage : !kernel.sendControlMessage) {
    return false;
  }
  const header = {
    msg_id: `bknb-${Date.now()}-${Math.random().toString(16).slice(2)}`,
    msg_type: "execute_request",
    session: kernel.clientId,
    username: kernel.username,
    date: new Date().toISOString(),
    version: "5.2",
  };
  if (subshells) {
    header.subshell_id = (await kernel.requestCreateSubshell({}).done).content.subshell_id;
  }
  const message = {
    header,
    parent_header: {},
    metadata: {},
    buffers: [],
    channel: subshells ? "shell" : "control",
    content: {
      code, silent: true, store_history: false, user_expressions: {}, allow_stdin: false, stop_on_error: false,
    },
  };
  try {
    const future = subshells ? kernel.sendShellMessage(message, true) : kernel.sendControlMessage(message, true);
    const reply = new Promise((resolve, reject) => {
      future.onReply = (answer) => (answer.content.status === "ok" ? resolve() : reject(answer.content));
    });
    const answered = await bknbWithin(reply, BKNB_REPLY_TIMEOUT_MS);
    future.dispose();
    return answered;
  } finally {
    if (subshells) {
      kernel.requestDeleteSubshell({ subshell_id: header.subshell_id }).done.catch(() => {});
    }
  }
}

let bknbPresses = 0;
const bknbView = Math.random().toString(16).slice(2);

// Send one press to the kernel; resolves to the route that worked: "comm", "out-of-band", "interrupt" or "" for none yet.
async function bknbPress(model, controls, action, signal) {
  const press = { kind: "bknb-press", id: controls.id, action, signal, view: bknbView, number: ++bknbPresses };
  let stopListening = () => {};
  const acknowledged = new Promise((resolve) => {
    const onMessage = (content) => {
      if (content?.kind === "bknb-ack" && content.view === press.view && content.number === press.number) {
        resolve();
      }
    };
    model.on("msg:custom", onMessage);
    stopListening = () => model.off("msg:custom", onMessage);
  });
  try {
    model.send(press);
    const kernel = model.widget_manager?.kernel;
    if (await bknbWithin(acknowledged, kernel?.status === "busy" ? BKNB_ACK_TIMEOUT_MS.busy : BKNB_ACK_TIMEOUT_MS.idle)) {
      return "comm";
    }
    if (!kernel) {
      return "";
    }
    const argument = JSON.stringify(JSON.stringify(press));
    const code = `__import__("bknb.jupyter.run_buttons", fromlist=["press"]).press(${argument})`;
    if (await bknbRunOutOfBand(kernel, code).catch(() => false)) {
      return "out-of-band";
    }
    if (controls.foreground && (action === "stop" || action === "stop_now") && kernel.interrupt) {
      await kernel.interrupt();
      return "interrupt";
    }
    return "";
  } finally {
    stopListening();
  }
}

export function mountControls({ model, el, key = "controls" }) {
  const make = (tag, className, attributes = {}) => {
    const made = document.createElement(tag);
    made.className = className;
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    return made;
  };
  const bar = make("div", "bknb-controls", { role: "group", "data-lm-suppress-shortcuts": "true" });
  const style = make("style", "");
  style.textContent = BKNB_STYLE;
  const line = make("div", "bknb-line");
  const track = make("div", "bknb-track", { role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" });
  const fill = make("div", "bknb-fill");
  track.append(fill);
  const statusLine = make("span", "bknb-status", { role: "status" });

  let pressed = null; // the action that the state does not show yet
  let notice = ""; // shown instead of the status text
  const disable = (made, off) => made.setAttribute("aria-disabled", String(off)); // unlike disabled, this keeps the focus
  const button = (action, text, title) => {
    const made = make("button", `bknb-${action}`, { type: "button", title });
    made.textContent = text;
    made.addEventListener("click", () => made.getAttribute("aria-disabled") === "true"
      || (made.dataset.confirm ? confirmed : press)(made.dataset.action, made.dataset.signal));
    made.dataset.action = action;
    return made;
  };
  const pause = button("pause", "Pause new entries", "Open nothing new; what is open is watched on");
  const stop = button("stop", "Stop", "Open nothing new, watch an open position to its end, then stop");
  const stopNow = button("stop_now", "Stop now", "Stop at the next minute and keep what there is");
  const byHand = make("span", "bknb-by-hand");
  bar.append(style, line, track, pause, stop, stopNow, byHand, statusLine);
  el.append(bar);

  let armed = ""; // the decision by hand that waits for its second click
  let disarming = 0;
  const confirmed = (action, signal) => {
    clearTimeout(disarming);
    if (armed === action) {
      armed = "";
      press(action, signal);
      return;
    }
    armed = action;
    disarming = setTimeout(() => { armed = ""; draw(); }, BKNB_CONFIRM_MS);
    draw();
  };

  function drawByHand(rows, label, off) {
    const known = [...byHand.children].map((made) => [made.dataset.action, made.dataset.signal]).join();
    if (known !== rows.map(([action, , , signal]) => [action, signal]).join()) {
      armed = "";
      byHand.replaceChildren(...rows.map(([action, text, title, signal]) => {
        const made = button(action, text, title);
        made.dataset.confirm = "true";
        made.dataset.signal = signal;
        return made;
      }));
    }
    rows.forEach(([action, text, title], index) => {
      const made = byHand.children[index];
      const waits = armed === action;
      made.textContent = waits ? `${text}: click again to confirm` : text;
      made.dataset.armed = String(waits);
      made.setAttribute("aria-label", `${made.textContent}. ${title}: ${label}`);
      disable(made, off);
    });
    byHand.hidden = rows.length === 0;
  }

  async function press(action, signal = "") {
    const controls = model.get(key) ?? {};
    pressed = { action, state: controls.state };
    notice = { stop: "Stopping …", stop_now: "Stopping now …", pause: "Pausing …", resume: "Resuming …" }[action] ?? "";
    draw();
    const route = await bknbPress(model, controls, action, signal);
    bar.dataset.route = route; // see bknbPress
    if (!route) {
      notice = controls.foreground
        ? "This kernel cannot be reached while its cell runs; Stop ends the run."
        : "The kernel is busy; this happens as soon as the running cell is over.";
    }
    pressed = null;
    draw();
    if (route) {
      notice = "";
      setTimeout(draw, BKNB_REPLY_TIMEOUT_MS);
    }
  }

  function draw() {
    const controls = model.get(key) ?? {};
    const { state = "over", label = "", text = "", percent = null, can_pause = false } = controls;
    if (pressed && pressed.state !== state) {
      pressed = null;
      notice = "";
    }
    const over = state === "over";
    bar.dataset.state = state;
    bar.setAttribute("aria-label", `Controls of ${label}`);
    const written = [label, text].filter(Boolean).join(" · ");
    if (line.textContent !== written) {
      line.textContent = written;
    }
    track.hidden = percent === null || over;
    track.setAttribute("aria-label", label);
    track.setAttribute("aria-valuenow", String(percent ?? 0));
    fill.style.width = `${percent ?? 0}%`;
    const paused = state === "paused";
    pause.hidden = over || !can_pause;
    pause.textContent = paused ? "Resume" : "Pause new entries";
    pause.dataset.action = paused ? "resume" : "pause";
    pause.setAttribute("aria-label", `${pause.textContent} of ${label}`);
    pause.setAttribute("aria-pressed", String(paused));
    stop.setAttribute("aria-label", `Stop ${label}: open nothing new, watch an open position to its end`);
    stopNow.setAttribute("aria-label", `Stop ${label} now, at its next minute`);
    stop.hidden = stopNow.hidden = over;
    const waiting = pressed?.action;
    const ending = state === "stopping" || state === "leaving";
    disable(pause, ending || Boolean(waiting));
    disable(stop, ending || waiting === "stop" || waiting === "stop_now");
    disable(stopNow, state === "leaving" || waiting === "stop_now");
    drawByHand(over ? [] : controls.by_hand ?? [], label, Boolean(waiting));
    const status = notice || controls.status_text || "";
    if (statusLine.textContent !== status) {
      statusLine.textContent = status;
    }
  }

  model.on(`change:${key}`, draw);
  draw();
  return () => {
    model.off(`change:${key}`, draw);
    clearTimeout(disarming);
    bar.remove();
  };
}
