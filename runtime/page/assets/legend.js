// What the colours of the map mean, and the buttons that choose them.

// One button per view, of which one is pressed; `change` is told the chosen view.
class ViewBar {
  constructor(views, change) {
    Object.assign(this, { views, change, current: views[0] });
    this.logarithmic = new Map(views.map((view) => [view, Boolean(view.logarithmic)]));
    this.buttons = views.map((view, i) =>
      h(
        "button",
        {
          type: "button",
          "data-view": view.id,
          title: `${view.about} (key ${i + 1})`,
          onclick: () => this.choose(view.id),
        },
        view.title,
      ),
    );
    this.log = h(
      "button",
      {
        type: "button",
        class: "log",
        "aria-pressed": "false",
        title: "Logarithmic scale (key l)",
        onclick: () => this.toggle(),
      },
      "log",
    );
    this.element = h(
      "div",
      { class: "views", role: "toolbar", "aria-label": "What the map shows" },
      this.buttons,
      this.log,
    );
  }

  choose(id) {
    this.current = this.views.find((view) => view.id === id) ?? this.current;
    this.apply();
  }

  toggle() {
    this.logarithmic.set(this.current, !this.logarithmic.get(this.current));
    this.apply();
  }

  apply() {
    this.buttons.forEach((button) => button.setAttribute("aria-pressed", button.dataset.view === this.current.id));
    this.log.hidden = Boolean(this.current.groups);
    const logarithmic = this.logarithmic.get(this.current);
    this.log.setAttribute("aria-pressed", logarithmic);
    this.change(this.current, logarithmic);
  }
}

// `pick(group)`: called with the number of a group of kernels whose swatch was clicked.
function legend(shown, pick) {
  const about = h("span", { class: "about" }, shown.view.about);
  if (shown.groups) {
    const sizes = new Array(shown.groups.names.length).fill(0);
    shown.groups.of.forEach((group) => sizes[group]++);
    const swatches = shown.groups.names.map((name, i) =>
      h(
        "button",
        {
          type: "button",
          class: "swatch",
          title: `${safe(name)}: select its ${plural(sizes[i], "kernel")}`,
          onclick: () => pick(i),
        },
        h("i", { style: { background: css(shown.groups.colours[i]) } }),
        safe(shown.groups.labels?.[i] ?? name),
        h("small", {}, ` ${sizes[i]}`),
      ),
    );
    return [about, h("div", { class: "swatches" }, swatches)];
  }
  const stops = Array.from({ length: 9 }, (_, i) => css(SCALE[Math.round((i / 8) * (STEPS - 1))])).join(",");
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => h("span", {}, shown.text(shown.valueAt(share))));
  return [
    about,
    h(
      "div",
      { class: "scale" },
      h("div", { class: "ramp", style: { background: `linear-gradient(90deg, ${stops})` } }),
      h("div", { class: "ticks" }, ticks),
    ),
    h("span", { class: "unit" }, shown.view.unit),
  ];
}
