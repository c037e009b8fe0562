// A table that sorts by the column one clicks.
//
// columns: [{title, about, value(row) -> number or text, cell(row) -> what is shown}]; rows: anything; on.pick(row).

class SortedTable {
  constructor(caption, columns, lines, pick) {
    Object.assign(this, { columns, lines, pick, by: null, down: true, only: "" });
    this.heads = columns.map((column, i) =>
      h(
        "th",
        { scope: "col", "aria-sort": "none" },
        h("button", { type: "button", title: column.about, onclick: () => this.sort(i) }, column.title),
      ),
    );
    this.body = h("tbody");
    this.filter = h("input", {
      type: "search",
      placeholder: "Filter",
      "aria-label": `Filter: ${caption}`,
      oninput: () => this.fill(),
    });
    this.counted = h("span", { class: "about", "aria-live": "polite" });
    this.table = h(
      "table",
      { class: "sorted" },
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, this.heads)),
      this.body,
    );
    this.element = h(
      "div",
      {},
      h("div", { class: "tools" }, this.filter, this.counted),
      h("div", { class: "scroll" }, this.table),
    );
    this.rows = new Map(lines.map((line) => [line, this.row(line)]));
    this.fill();
  }

  row(line) {
    return h(
      "tr",
      { onclick: (event) => !event.target.closest("button") && this.pick(line) },
      this.columns.map((column) => {
        const value = column.value(line);
        const number = typeof value === "number" || value === null;
        return h(
          "td",
          { class: number ? "number" : null },
          column.cell ? column.cell(line) : number ? count(value) : safe(value),
        );
      }),
    );
  }

  sort(i) {
    this.down = this.by === i ? !this.down : typeof this.columns[i].value(this.lines[0] ?? {}) !== "string";
    this.by = i;
    this.heads.forEach((head, j) =>
      head.setAttribute("aria-sort", j !== i ? "none" : this.down ? "descending" : "ascending"),
    );
    this.fill();
  }

  fill() {
    const wanted = this.filter.value.toLowerCase();
    const shown = this.lines.filter(
      (line) => !wanted || this.rows.get(line).textContent.toLowerCase().includes(wanted),
    );
    if (this.by !== null) {
      const { value } = this.columns[this.by];
      const key = (line) => value(line) ?? -Infinity;
      const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
      shown.sort((a, b) => (this.down ? -1 : 1) * compare(key(a), key(b)));
    }
    this.body.replaceChildren(...shown.map((line) => this.rows.get(line)));
    this.counted.textContent =
      shown.length === this.lines.length ? `${shown.length}` : `${shown.length} of ${this.lines.length}`;
  }

  mark(lines) {
    for (const [line, row] of this.rows) row.classList.toggle("marked", lines.includes(line));
  }
}

function kernelTable(wafer, go) {
  const measured = (number, name) => wafer.data.run.kernels[number][name];
  const busy = (number) => {
    const { spent } = wafer.data.run.kernels[number];
    return spent[0] / (spent.reduce((sum, value) => sum + value, 0) || 1);
  };
  const of = (name) => (number) => wafer.kernels[number][name];
  const columns = [
    { title: "#", about: "place in the program", value: (number) => number },
    { title: "kernel", about: "name", value: of("name"), cell: (number) => go.kernel(number) },
    { title: "kind", about: "kind of kernel", value: of("kind") },
    {
      title: "layer",
      about: "transformer layers it works for",
      value: (number) => wafer.kernels[number].layers?.[0] ?? null,
      cell: (number) => layerText(wafer.kernels[number]).replace(/^layers? /, "") || UNKNOWN,
    },
    {
      title: "at",
      about: "north-west core",
      value: (number) => wafer.kernels[number].box[1] * 65536 + wafer.kernels[number].box[0],
      cell: (number) => `${wafer.kernels[number].box[0]},${wafer.kernels[number].box[1]}`,
    },
    {
      title: "size",
      about: "width × height in cores",
      value: (number) => wafer.kernels[number].box[2] * wafer.kernels[number].box[3],
      cell: (number) => `${wafer.kernels[number].box[2]} × ${wafer.kernels[number].box[3]}`,
    },
    { title: "cores", about: "cores with a program", value: of("cores") },
    { title: "interval", about: "predicted cycles between two tokens", value: of("interval") },
    { title: "latency", about: "predicted cycles of a lone token", value: of("latency") },
    wafer.data.run && {
      title: "measured",
      about: "cycles between two tokens in the run",
      value: (number) => measured(number, "interval_cycles"),
    },
    wafer.data.run && {
      title: "work",
      about: "cycles of work a token, busiest core",
      value: (number) => measured(number, "work_cycles"),
    },
    wafer.data.run && {
      title: "busy",
      about: "share of its cores' cycles in the run",
      value: busy,
      cell: (number) => percent(busy(number)),
    },
    { title: "memory", about: "bytes of its fullest core", value: of("memory_max") },
    { title: "link", about: "words a token on its hottest link", value: of("link") },
    { title: "colours", about: "most colours in one of its routers", value: of("colours") },
    {
      title: "MACs",
      about: "multiply-accumulates a token",
      value: of("macs"),
      cell: (number) => short(wafer.kernels[number].macs),
    },
    { title: "ONNX", about: "ONNX nodes it works for", value: (number) => wafer.kernels[number].nodes.length },
  ];
  return new SortedTable(
    "Kernels",
    columns.filter(Boolean),
    wafer.kernels.map((_, number) => number),
    (number) => go.toKernel(number),
  );
}
