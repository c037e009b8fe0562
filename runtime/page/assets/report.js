// The page of one image.

class Report {
  constructor(data, wafer) {
    Object.assign(this, { data, wafer });
    this.go = this.links();
  }

  build(root) {
    const { data, wafer, go } = this;
    this.map = new WaferMap(wafer, data.file, {
      select: (x, y, stay) => this.pick(x, y, stay),
      hover: (x, y) => this.hover(x, y),
    });
    this.bar = new ViewBar(viewsOf(wafer), (view, logarithmic) => this.show(view, logarithmic));
    this.legend = h("div", { class: "legend", "aria-live": "polite" });
    this.detail = h("aside", { class: "detail", "aria-label": "What is selected", tabindex: -1 });
    this.search = new Search(wafer, (hit) => this.select(hit, { zoom: true }));
    this.table = kernelTable(wafer, go);
    this.pipeline = new Pipeline(wafer, go);
    this.status = h("p", { class: "hidden", "aria-live": "polite" });
    root.append(
      heading(
        data.file,
        [
          `${data.provenance.model ?? "unknown model"} in ${data.report.summary.precision || "unknown precision"} for ${data.target.name}`,
        ],
        this.search.element,
      ),
      h(
        "main",
        {},
        cards(data, go),
        h(
          "div",
          { class: "stage-area" },
          h(
            "section",
            { class: "map-area", "aria-label": "Map" },
            h("div", { class: "tools" }, this.bar.element, mapTools([this.map])),
            this.legend,
            this.map.element,
            mapKeys(),
          ),
          this.detail,
        ),
        h(
          "details",
          { class: "section", open: true, id: "pipeline" },
          h("summary", {}, h("h2", {}, "Pipeline")),
          this.pipeline.element,
        ),
        h(
          "details",
          { class: "section", open: true, id: "kernels" },
          h("summary", {}, h("h2", {}, "Kernels")),
          this.table.element,
        ),
        passes(data),
        provenance(data),
        this.status,
      ),
    );
    this.bar.apply();
    this.restore();
    addEventListener("popstate", () => this.restore());
    keys({
      "/": () => this.search.input.focus(),
      Escape: () => this.select(null),
      l: () => this.bar.toggle(),
      "+": () => this.map.zoom(1.5),
      "=": () => this.map.zoom(1.5),
      "-": () => this.map.zoom(1 / 1.5),
      0: () => this.map.fit(),
      z: () => this.zoomToSelection(),
      ...Object.fromEntries(this.bar.views.map((view, i) => [i + 1, () => this.bar.choose(view.id)])),
    });
    onTheme(() => this.bar.apply());
  }

  // Buttons that lead to kernels, nodes and cores, wherever one is named.
  links() {
    return {
      toKernel: (number) => this.select({ type: "kernel", kernel: number }, { reveal: true }),
      kernel: (number) => link(this.wafer.kernels[number].name, () => this.go.toKernel(number)),
      kernelOrText: (name) =>
        this.wafer.kernelNumbers.has(name) ? this.go.kernel(this.wafer.kernelNumbers.get(name)) : safe(name),
      node: (node) => link(this.data.nodes[node], () => this.select({ type: "node", node })),
      core: (x, y) => link(`(${x},${y})`, () => this.select({ type: "core", x, y }, { reveal: true })),
      zoom: (area) => link("zoom to it", () => this.map.fit(area)),
    };
  }

  show(view, logarithmic) {
    this.shown = new Shown(this.wafer, view, logarithmic);
    this.map.show(this.shown);
    this.legend.replaceChildren(...legend(this.shown, (group) => this.selectGroup(group)));
    this.map.element.dataset.view = view.id;
  }

  hover(x, y) {
    const kernel = this.wafer.kernelAt(x, y),
      text = this.shown.at(x, y);
    if (kernel < 0) return text ? [`(${x},${y})`, text] : null;
    const found = this.wafer.kernels[kernel];
    const lines = [`${safe(found.name)} (${x},${y})`, kindText(found)];
    return this.shown.groups ? lines : [...lines, text || `0 ${this.shown.view.unit}`];
  }

  selectGroup(group) {
    const numbers = this.shown.groups.of.flatMap((of, number) => (of === group ? [number] : []));
    this.select({ type: "group", name: this.shown.groups.names[group], kernels: numbers });
  }

  // From afar one means a kernel; where cores can be told apart, or in the kernel that is selected already, a core.
  pick(x, y, stay) {
    const kernel = this.wafer.kernelAt(x, y);
    const close = stay || kernel < 0 || this.map.view.scale >= GRID_FROM;
    const again = this.selection && this.map.marks.kernels.length === 1 && this.map.marks.kernels[0] === kernel;
    if (close || again) this.select({ type: "core", x, y }, { stay });
    else this.select({ type: "kernel", kernel });
  }

  // selection: {type: "kernel", kernel}, {type: "core", x, y}, {type: "node", node}, {type: "group", name, kernels} or null.
  select(selection, { reveal = false, zoom = false, stay = false, restored = false } = {}) {
    this.selection = selection;
    const { content, marks, area } = this.selected(selection);
    this.detail.replaceChildren(...[content].flat(Infinity).filter(Boolean));
    this.detail.scrollTop = 0;
    this.detail.dataset.selected = selection?.type ?? "nothing";
    this.map.mark(marks);
    const kernels = marks.kernels ?? [];
    this.table.mark(kernels);
    this.pipeline.mark(kernels);
    this.status.textContent = this.detail.querySelector("h2")?.textContent ?? "";
    if (area && (reveal || zoom || stay)) this.map.reveal(area, zoom && selection.type === "core" ? 14 : 0);
    this.area = area;
    if (!restored) remember(this.address(selection));
  }

  selected(selection) {
    const { wafer, go } = this;
    if (!selection) return { content: welcome(wafer, go), marks: {}, area: null };
    if (selection.type === "kernel") {
      return {
        content: kernelDetail(wafer, selection.kernel, go),
        marks: this.kernelMarks(selection.kernel),
        area: wafer.kernels[selection.kernel].box,
      };
    }
    if (selection.type === "core") return this.selectedCore(selection);
    const kernels = selection.type === "node" ? wafer.kernelsOfNode[selection.node] : selection.kernels;
    const content =
      selection.type === "node"
        ? nodeDetail(wafer, selection.node, go)
        : groupDetail(wafer, selection.name, kernels, go);
    return { content, marks: { kernels }, area: around(kernels.map((number) => wafer.kernels[number].box)) };
  }

  selectedCore({ x, y }) {
    const core = this.wafer.coreAt(x, y);
    const channels = core ? this.wafer.network.channels(core) : [];
    return {
      content: coreDetail(this.wafer, { x, y }, core, channels, this.go),
      marks: { kernels: core ? [core.kernel] : [], core: { x, y }, channels },
      area: [x, y, 1, 1],
    };
  }

  kernelMarks(number) {
    const { wafer } = this,
      { streams } = this.data;
    const marked = [
      ...wafer.incoming[number].map(([i, sink]) => ({
        direction: "in",
        lanes: streams[i].lanes,
        ways: [streams[i].ways[sink]],
      })),
      ...wafer.outgoing[number].map((i) => ({ direction: "out", lanes: streams[i].lanes, ways: streams[i].ways })),
    ];
    return { kernels: [number], streams: marked, lanes: lanesOf(wafer, number) };
  }

  zoomToSelection() {
    if (this.area) this.map.fit(this.area, 24);
  }

  // What is selected as the address's fragment, so that a place can be linked to and gone back to.
  address(selection) {
    if (selection?.type === "kernel") return `kernel=${encodeURIComponent(this.wafer.kernels[selection.kernel].name)}`;
    if (selection?.type === "node") return `node=${encodeURIComponent(this.data.nodes[selection.node])}`;
    return selection?.type === "core" ? `core=${selection.x},${selection.y}` : "";
  }

  restore() {
    const found = new URLSearchParams(location.hash.slice(1));
    const kernel = this.wafer.kernelNumbers.get(found.get("kernel")),
      node = this.data.nodes.indexOf(found.get("node"));
    const place = (found.get("core") ?? "").match(/^(\d{1,5}),(\d{1,5})$/);
    let selection = null;
    if (kernel !== undefined) selection = { type: "kernel", kernel };
    else if (node >= 0) selection = { type: "node", node };
    else if (place) selection = { type: "core", x: Number(place[1]), y: Number(place[2]) };
    this.select(selection, { restored: true });
  }
}

// All lanes between a kernel and others as one path.
function lanesOf(wafer, number) {
  const path = new Path2D();
  const [left, top, width, height] = wafer.kernels[number].box;
  const outside = ({ x, y, host }) => host || x < left || y < top || x >= left + width || y >= top + height;
  for (let y = top; y < top + height; y++) {
    for (let x = left; x < left + width; x++) {
      const core = wafer.coreAt(x, y);
      if (!core) continue;
      for (const channel of wafer.network.channels(core)) {
        if (channel.ends.some(outside)) path.addPath(linksPath(channel.links));
      }
    }
  }
  return path;
}

function remember(fragment) {
  const wanted = fragment ? `#${fragment}` : "";
  if (location.hash !== wanted) history.pushState(null, "", wanted || location.pathname + location.search);
}

function welcome(wafer, go) {
  const numbers = wafer.kernels.map((_, i) => i).filter((i) => wafer.kernels[i].interval !== null);
  const slow = numbers.sort((a, b) => wafer.kernels[b].interval - wafer.kernels[a].interval).slice(0, 8);
  return [
    h("h2", {}, "Nothing selected"),
    h(
      "p",
      { class: "lead" },
      "Click a kernel on the map, again for a core of it, or search.",
    ),
    slow.length > 0 &&
      section(
        "Slowest kernels",
        rows(
          ["kernel", "kind", "cycles"],
          slow.map((i) => [go.kernel(i), safe(wafer.kernels[i].kind), wafer.kernels[i].interval]),
        ),
      ),
    section(
      "Hottest links",
      rows(
        ["at", "link", "words"],
        wafer.data.report.route.hottest_links.slice(0, 8).map((one) => [go.core(one.x, one.y), one.link, one.words]),
      ),
    ),
  ];
}
