// The card of proposals: previews, and buttons that insert cells into the notebook. No cell is run.
function notebookOf(model) {
  try {
    const notebook = model.widget_manager.context.model;
    return typeof notebook.sharedModel.insertCells === "function" ? notebook : null;
  } catch {
    return null;
  }
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// The index below the cell of this card. The cell is found by its id, because cells may have been moved.
function indexBelow(shared, cellId) {
  const at = shared.cells.findIndex((cell) => cell.getId() === cellId);
  return at < 0 ? shared.cells.length : at + 1;
}

function render({ model, el }) {
  const cells = model.get("cells");
  const names = [...new Set(cells.map((cell) => cell.strategy).filter(Boolean))];
  const notebook = notebookOf(model);
  const status = element("div", { role: "status", "aria-live": "polite", style: "opacity:0.8;font-size:90%;min-height:1.4em" });
  const inserted = new Set();
  let end = null; // the last cell that was inserted: the next ones come after it

  function insert(wanted) {
    const chosen = cells.filter((cell) => cell.strategy === "" ? !inserted.has("") : wanted.includes(cell.strategy));
    const shared = notebook.sharedModel;
    const at = indexBelow(shared, end ?? model.get("cell_id"));
    shared.insertCells(at, chosen.map((cell) => ({
      cell_type: cell.kind,
      source: cell.source,
      metadata: { tags: ["bknb-generated"], bknb: { strategy: cell.strategy, ...cell.metadata } },
    })));
    end = shared.cells[at + chosen.length - 1].getId();
    ["", ...wanted].forEach((name) => inserted.add(name));
    status.textContent = `${chosen.length} cells inserted below; none was run`;
    refresh();
  }

  async function copy(name) {
    const text = cells.filter((cell) => cell.strategy === name && cell.kind === "code").map((cell) => cell.source);
    try {
      await navigator.clipboard.writeText(text[0]);
      status.textContent = `${name} copied`;
    } catch {
      status.textContent = "the browser does not allow copying here; the code is in the preview";
    }
  }

  const buttons = new Map();
  function refresh() {
    for (const [name, button] of buttons) {
      const done = name === "*" ? names.every((each) => inserted.has(each)) : inserted.has(name);
      button.disabled = done;
      button.textContent = done ? "Inserted ✓" : name === "*" ? "Insert all" : "Insert";
    }
  }

  function insertButton(name, wanted, label) {
    const button = element("button", { type: "button", class: "jupyter-button bknb-insert", "aria-label": label });
    button.addEventListener("click", () => insert(wanted().filter((each) => !inserted.has(each))));
    buttons.set(name, button);
    return button;
  }

  const card = element("div", { class: "bknb-card", style: "border:1px solid rgba(128,128,128,0.35);border-radius:6px;padding:10px 12px;margin:4px 0" });
  const panel = element("div");
  panel.innerHTML = model.get("panel"); // made by bknb, every text of the model escaped
  card.append(panel);
  const rows = element("div", { style: "margin-top:8px;border-top:1px solid rgba(128,128,128,0.25);padding-top:6px" });
  for (const name of names) {
    const row = element("div", { style: "display:flex;gap:8px;align-items:center;margin:3px 0" });
    const copyButton = element("button", { type: "button", class: "jupyter-button", "aria-label": `Copy ${name}` }, "Copy");
    copyButton.addEventListener("click", () => copy(name));
    if (notebook) row.append(insertButton(name, () => [name], `Insert ${name} as cells`));
    row.append(copyButton, element("span", {}, name));
    rows.append(row);
  }
  if (notebook && names.length > 1) {
    rows.append(element("div", { style: "margin-top:6px" }, insertButton("*", () => names, "Insert all proposals as cells")));
  }
  if (!notebook) status.textContent = "this front end cannot take cells from a card";
  card.append(rows, status, element("div", { style: "opacity:0.8;font-size:90%" }, `Everything as a notebook: ${model.get("path")}`));
  el.append(card);
  refresh();
}

export default { render };
