// The panels of a portfolio: HTML that the kernel makes, below the buttons; the source of controls.js stands before this.

export default {
  render({ model, el }) {
    const bar = document.createElement("div");
    const panels = document.createElement("div");
    el.append(bar, panels);
    const unmount = model.get("controls").id ? mountControls({ model, el: bar }) : () => {};
    const draw = () => {
      const html = model.get("html");
      for (const [name, text] of Object.entries(html)) {
        let panel = panels.querySelector(`[data-panel="${name}"]`);
        if (!panel) {
          panel = document.createElement("div");
          panel.dataset.panel = name;
          panels.append(panel);
        }
        if (panel.shown !== text) {
          const scrolled = panel.querySelector("[role=region]")?.scrollLeft ?? 0;
          panel.shown = text;
          panel.innerHTML = text;
          const region = panel.querySelector("[role=region]");
          if (region) {
            region.scrollLeft = scrolled;
          }
        }
      }
    };
    model.on("change:html", draw);
    draw();
    return () => {
      model.off("change:html", draw);
      unmount();
    };
  },
};
