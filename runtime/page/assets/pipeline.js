// How long a token takes at every kernel: the slowest sets the pace of all.

const HEIGHT = 200;
const ROOM = { left: 64, right: 12, top: 14, bottom: 22 };

class Pipeline {
  constructor(wafer, go) {
    Object.assign(this, { wafer, go, ordered: false, marked: [] });
    const { data } = wafer;
    this.stages = [
      ...data.ports.filter((port) => port.direction === "in").map((port) => this.port(port)),
      ...data.kernels.map((kernel, number) => ({
        number,
        name: kernel.name,
        kind: kernel.kind,
        interval: kernel.interval,
        measured: data.run?.kernels[number].interval_cycles ?? null,
        layers: kernel.layers,
      })),
      ...data.ports.filter((port) => port.direction === "out").map((port) => this.port(port)),
    ].filter((stage) => stage.interval !== null);
    this.bounds = [
      ["host bound", data.bounds.host],
      ["area bound", data.bounds.area],
      ["passes", data.bounds.passes],
    ].filter(([, cycles]) => cycles);
    this.chart = h("div", { class: "chart" });
    this.order = h(
      "button",
      { type: "button", "aria-pressed": "false", onclick: () => this.reorder() },
      "slowest first",
    );
    this.element = h(
      "div",
      {},
      h("div", { class: "tools" }, this.order, h("span", { class: "about" }, this.about())),
      this.chart,
    );
    new ResizeObserver(() => this.draw()).observe(this.chart);
  }

  port(port) {
    return { number: HOST, name: port.name, kind: "host", interval: port.interval, measured: null, layers: null };
  }

  about() {
    const parts = this.wafer.data.run
      ? "bars: predicted cycles between two tokens; marks: measured"
      : "predicted cycles between two tokens";
    const { host, area, passes } = this.wafer.data.bounds,
      pace = slowest(this.wafer.data);
    const bounds = [
      host && `the host's channels allow ${count(host)}`,
      area && `arithmetic on all cores ${count(area)}`,
      passes && `passes through shared kernels ${count(passes)}`,
    ]
      .filter(Boolean)
      .join(", ");
    return (
      `${parts}; in program order from left to right. ${pace ? `Slowest: ${safe(pace.name)}, ${count(pace.interval)}.` : ""}` +
      `${bounds ? ` Bounds: ${bounds}.` : ""}`
    );
  }

  reorder() {
    this.ordered = !this.ordered;
    this.order.setAttribute("aria-pressed", this.ordered);
    this.draw();
  }

  mark(numbers) {
    this.marked = numbers;
    this.draw();
  }

  draw() {
    const width = this.chart.clientWidth;
    if (!width) return;
    const stages = this.ordered ? [...this.stages].sort((a, b) => b.interval - a.interval) : this.stages;
    const most = Math.max(
      1,
      ...stages.flatMap((stage) => [stage.interval, stage.measured ?? 0]),
      ...this.bounds.map(([, cycles]) => cycles),
    );
    const inner = width - ROOM.left - ROOM.right,
      tall = HEIGHT - ROOM.top - ROOM.bottom;
    const step = inner / Math.max(1, stages.length);
    const y = (cycles) => ROOM.top + tall * (1 - cycles / most);
    const parts = [];
    for (const tick of ticks(most)) {
      parts.push(
        svg("line", { class: "grid", x1: ROOM.left, x2: width - ROOM.right, y1: y(tick), y2: y(tick) }),
        svg("text", { x: ROOM.left - 6, y: y(tick) + 4, "text-anchor": "end" }, count(tick)),
      );
    }
    stages.forEach((stage, i) => parts.push(...this.stage(stage, ROOM.left + i * step, step, y)));
    this.bounds.forEach(([name, cycles], i) =>
      parts.push(
        svg("line", { class: "bound", x1: ROOM.left, x2: width - ROOM.right, y1: y(cycles), y2: y(cycles) }),
        svg(
          "text",
          { class: "bound", x: width - ROOM.right - 4 - 160 * i, y: y(cycles) - 4, "text-anchor": "end" },
          `${name} ${count(cycles)}`,
        ),
      ),
    );
    const label = `Cycles between two tokens of ${stages.length} stages. ${this.about()} The table of kernels has the numbers.`;
    this.chart.replaceChildren(
      svg(
        "svg",
        { width, height: HEIGHT, role: "img", "aria-label": label },
        parts,
        svg("text", { x: ROOM.left, y: HEIGHT - 6 }, this.ordered ? "slowest" : "first in the program"),
        svg("text", { x: width - ROOM.right, y: HEIGHT - 6, "text-anchor": "end" }, this.ordered ? "fastest" : "last"),
      ),
    );
  }

  stage(stage, x, step, y) {
    const at = this.wafer.kinds.indexOf(stage.kind);
    const marked = stage.number !== HOST && this.marked.includes(stage.number);
    const title =
      `${safe(stage.name)} (${kindText(stage)}): ${count(stage.interval)} cycles` +
      (stage.measured === null ? "" : `, measured ${count(stage.measured)}`);
    const base = y(0),
      gap = step > 4 ? 1 : 0;
    return [
      svg(
        "g",
        {
          class: marked ? "stage marked" : "stage",
          onclick: () => stage.number !== HOST && this.go.toKernel(stage.number),
        },
        svg("title", {}, title),
        svg("rect", { class: "hit", x, y: ROOM.top, width: step, height: base - ROOM.top }),
        svg("rect", {
          x,
          y: y(stage.interval),
          width: Math.max(0.5, step - gap),
          height: Math.max(0.5, base - y(stage.interval)),
          fill: at < 0 ? "var(--ink)" : css(kindColour(at)),
        }),
        stage.measured !== null &&
          svg("line", {
            class: "measured",
            x1: x,
            x2: x + Math.max(2, step - gap),
            y1: y(stage.measured),
            y2: y(stage.measured),
          }),
      ),
    ];
  }
}

// Four or five round numbers up to a largest.
function ticks(most) {
  const rough = most / 4,
    unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * unit).find((size) => size >= rough);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}
