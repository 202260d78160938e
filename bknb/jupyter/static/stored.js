// The stored outputs of a widget on the page: plain HTML, found by the class `bknb-of-` and the place of the widget. While the widget
// is alive, a view replaces each of them; without it they stay as stored.
//
// make(element) draws a view in an element; it has redrawIfDirty(), called when the page has changed around it, and destroy().
class StoredOutputs {
  constructor(model, make) {
    this.make = make;
    this.nodes = document.getElementsByClassName(`bknb-of-${model.get("place")}`);
    this.views = new Map();
    this.observer = new MutationObserver(() => {
      this.waiting ??= requestAnimationFrame(() => this.scan());
    });
    this.observer.observe(document.body, { childList: true, subtree: true });
    this.scan();
  }

  scan() {
    this.waiting = null;
    for (const node of [...this.nodes]) {
      const view = this.views.get(node);
      if (view) view.redrawIfDirty();
      else this.mount(node);
    }
  }

  mount(node) {
    for (const child of node.children) child.style.display = "none";
    for (const [old, view] of this.views) {
      if (old.isConnected) continue;
      node.prepend(old.firstElementChild); // the notebook has rewritten the output: the view moves into the new element
      this.views.delete(old);
      this.views.set(node, view);
      view.redrawIfDirty();
      return;
    }
    const host = document.createElement("div");
    node.prepend(host);
    this.views.set(node, this.make(host));
  }

  unmount(node, view) {
    view.destroy();
    this.views.delete(node);
    node.firstElementChild?.remove();
    for (const child of node.children) child.style.display = "";
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.waiting);
    for (const [node, view] of [...this.views]) this.unmount(node, view);
  }
}
