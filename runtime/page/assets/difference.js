// The page of two images side by side: linked maps, and what changed.

class Difference {
  constructor({ difference }, old, now) {
    Object.assign(this, { difference, wafers: [old, now], names: ["old", "new"] });
    this.partner = [new Map(), new Map()]; // by side: kernel -> line of difference.kernels
    difference.kernels.forEach((line) =>
      [line.old, line.new].forEach((number, side) => number !== null && this.partner[side].set(number, line)),
    );
    this.selected = null;
  }

  build(root) {
    this.maps = this.wafers.map(
      (wafer, side) =>
        new WaferMap(wafer, wafer.data.file, {
          select: (x, y) => this.select(this.partner[side].get(wafer.kernelAt(x, y)) ?? null),
          hover: (x, y) => this.hover(side, x, y),
          move: (view) => this.maps[1 - side].width && this.maps[1 - side].setView(view, true),
        }),
    );
    const home = around(this.wafers.map((wafer) => wafer.used()));
    this.maps.forEach((map) => {
      map.home = home;
    });
    const views = [
      this.changeView(),
      ...VIEWS.filter((view) => !view.run || this.wafers.every((wafer) => wafer.data.run)),
    ];
    this.bar = new ViewBar(views, (view, logarithmic) => this.show(view, logarithmic));
    this.legend = h("div", { class: "legend", "aria-live": "polite" });
    this.detail = h("section", { class: "compared", "aria-live": "polite", "aria-label": "What is selected" });
    this.table = changesTable(this.difference.kernels, this.wafers, (line) => {
      this.select(line);
      this.reveal(line);
    });
    const titles = this.wafers.map((wafer) => safe(wafer.data.file));
    root.append(
      heading(`${titles[0]} → ${titles[1]}`, ["two compiles side by side"]),
      h(
        "main",
        {},
        this.changes(),
        this.numbers(),
        h(
          "section",
          { class: "map-area", "aria-label": "Maps" },
          h("div", { class: "tools" }, this.bar.element, mapTools(this.maps)),
          this.legend,
          h(
            "div",
            { class: "pair" },
            this.maps.map((map, side) =>
              h(
                "figure",
                {},
                h(
                  "figcaption",
                  {},
                  h("b", {}, this.names[side]),
                  ` ${titles[side]}, ${safe(this.wafers[side].data.target.name)}`,
                ),
                map.element,
              ),
            ),
          ),
          mapKeys(),
        ),
        this.detail,
        h(
          "details",
          { class: "section", open: true, id: "kernels" },
          h("summary", {}, h("h2", {}, "Kernels")),
          this.table.element,
        ),
        this.options(),
      ),
    );
    this.bar.apply();
    this.select(null);
    keys({
      Escape: () => this.select(null),
      l: () => this.bar.toggle(),
      "+": () => this.maps[0].zoom(1.5),
      "=": () => this.maps[0].zoom(1.5),
      "-": () => this.maps[0].zoom(1 / 1.5),
      0: () => this.maps[0].fit(),
      z: () => this.selected && this.reveal(this.selected, true),
      "/": () => this.table.filter.focus(),
      ...Object.fromEntries(views.map((view, i) => [i + 1, () => this.bar.choose(view.id)])),
    });
    onTheme(() => this.bar.apply());
  }

  changeView() {
    return {
      id: "change",
      title: "Change",
      about: "what became of every kernel",
      groups: (wafer) => {
        const side = this.wafers.indexOf(wafer);
        const of = wafer.kernels.map((_, number) => STATUSES.indexOf(status(this.partner[side].get(number))));
        return { names: STATUSES, of, colours: STATUS_COLOURS.map(rgb) };
      },
    };
  }

  show(view, logarithmic) {
    this.shown = this.wafers.map((wafer) => new Shown(wafer, view, logarithmic));
    const [old, now] = this.shown;
    old.shareScale([now]);
    now.shareScale([old]);
    this.shown.forEach((shown, side) => this.maps[side].show(shown));
    this.maps.forEach((map) => {
      map.element.dataset.view = view.id;
    });
    this.legend.replaceChildren(...legend(now, (group) => this.selectGroup(now.groups.names[group])));
  }

  hover(side, x, y) {
    const wafer = this.wafers[side],
      kernel = wafer.kernelAt(x, y),
      text = this.shown[side].at(x, y);
    if (kernel < 0) return text ? [`(${x},${y})`, text] : null;
    return [
      `${safe(wafer.kernels[kernel].name)} (${x},${y})`,
      text || safe(wafer.kernels[kernel].kind),
      changeText(this.partner[side].get(kernel)),
    ];
  }

  selectGroup(name) {
    this.maps.forEach((map, side) => {
      const { names, of } = this.shown[side].groups;
      map.mark({ kernels: of.flatMap((group, number) => (names[group] === name ? [number] : [])) });
    });
  }

  // A line of difference.kernels, or null.
  select(line) {
    this.selected = line;
    const numbers = line ? [line.old, line.new] : [null, null];
    this.maps.forEach((map, side) => map.mark({ kernels: numbers[side] === null ? [] : [numbers[side]] }));
    this.table.mark(line ? [line] : []);
    this.detail.replaceChildren(
      ...(line
        ? this.compared(line)
        : [h("p", { class: "about" }, "Click a kernel on either map, or in the table, to compare it.")]),
    );
    this.detail.dataset.selected = line ? "kernel" : "nothing";
  }

  reveal(line, close = false) {
    const boxes = [line.old, line.new].flatMap((number, side) =>
      number === null ? [] : [this.wafers[side].kernels[number].box],
    );
    if (close) this.maps[0].fit(around(boxes), 24);
    else this.maps[0].reveal(around(boxes));
  }

  changes() {
    const { counts } = this.difference;
    return h(
      "p",
      { class: "lead", id: "changes" },
      Object.entries(counts).map(([what, number], i) => [i ? ", " : "", h("b", {}, count(number)), ` ${what}`]),
    );
  }

  numbers() {
    return h(
      "dl",
      { class: "cards" },
      this.difference.numbers.map((line) => {
        const { text, verdict } = delta(line);
        return h(
          "div",
          { class: "card" },
          h("dt", {}, line.name),
          h("dd", {}, shownNumber(line.new, line.unit), h("small", {}, line.unit === "share" ? "" : ` ${line.unit}`)),
          h(
            "dd",
            { class: "note" },
            verdict ? h("b", { class: verdict }, `${text}, ${verdict}`) : text,
            text ? h("br") : "",
            line.old === line.new ? "as before" : `was ${shownNumber(line.old, line.unit)}`,
          ),
        );
      }),
    );
  }

  compared(line) {
    const sides = [line.old, line.new].map((number, side) => {
      if (number === null) return h("div", {}, h("h3", {}, `not in ${this.names[side]}`));
      const kernel = this.wafers[side].kernels[number],
        [x, y, width, height] = kernel.box;
      return h(
        "div",
        {},
        h("h3", {}, `${this.names[side]}: ${safe(kernel.name)}`),
        facts([
          ["kind", safe(kernel.kind)],
          ["place", `${width} × ${height} at (${x},${y})`],
          ["cores", count(kernel.cores)],
          ["interval", `${count(kernel.interval)} cycles`],
          ["latency", `${count(kernel.latency)} cycles`],
          ["fullest core", `${count(kernel.memory_max)} bytes`],
          ["hottest link", `${count(kernel.link)} words`],
          ["colours", kernel.colours],
          ["programs", count(kernel.programs.length)],
          [
            "ONNX nodes",
            h(
              "span",
              {},
              kernel.nodes
                .slice(0, 6)
                .map((node) => safe(this.wafers[side].data.nodes[node]))
                .join(", "),
              kernel.nodes.length > 6 ? ` and ${kernel.nodes.length - 6} more` : "",
            ),
          ],
        ]),
      );
    });
    return [h("h2", {}, changeText(line)), h("div", { class: "columns" }, sides)];
  }

  options() {
    const changed = this.difference.options.map((line) => [
      safe(line.name),
      safe(line.old ?? UNKNOWN),
      safe(line.new ?? UNKNOWN),
    ]);
    return h(
      "details",
      { class: "section", open: true },
      h("summary", {}, h("h2", {}, "Inputs and options that differ")),
      changed.length
        ? rows(["", "old", "new"], changed)
        : h("p", { class: "about" }, "None: the same model, compiled with the same options."),
    );
  }
}
