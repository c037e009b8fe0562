// What the map can show. A view colours every core or router of the usable wafer and explains itself.
//
// {id, title, about, groups(wafer)} for kinds of things, {id, title, about, unit, values(wafer)} for amounts: a number per
// cell, 0 where there is nothing to show; `text(value)` says one in words, `top(wafer)` is the end of the scale.

// `each[cells[i]]` for every cell: a plain loop, since a wafer has 745,500.
function looked(Type, cells, each) {
  const found = new Type(cells.length);
  for (let i = 0; i < cells.length; i++) found[i] = each[cells[i]];
  return found;
}

function perKernel(wafer, valueOf) {
  return looked(Float64Array, wafer.kernelCell, [0, ...wafer.kernels.map(valueOf)]);
}

function perCore(wafer, valueOf) {
  const values = new Float64Array(wafer.kernelCell.length);
  wafer.kernels.forEach((kernel, number) => {
    const {
      box: [x, y, width, height],
      first,
      cols,
    } = kernel;
    for (let row = y; row < y + height; row++) {
      for (let column = x; column < x + width; column++) {
        if (!wafer.inside(column, row)) continue;
        const [r, c] = wafer.local(number, column, row);
        values[wafer.index(column, row)] = valueOf(first + r * cols + c);
      }
    }
  });
  return values;
}

function spentShare(wafer, reasons) {
  const run = wafer.data.run;
  const columns = run.reasons.flatMap((reason, i) => (reasons.includes(reason) ? [wafer.spent[i]] : []));
  return perCore(wafer, (core) => columns.reduce((sum, column) => sum + column[core], 0) / Math.max(1, run.cycles));
}

const STALLS = ["conflict", "dependency", "no_wavelet", "back_pressure"];

const VIEWS = [
  {
    id: "kernel",
    title: "Kernel",
    about: "kind of kernel",
    groups: (wafer) => ({
      names: wafer.kinds,
      of: wafer.kernels.map((kernel) => wafer.kinds.indexOf(kernel.kind)),
      colours: wafer.kinds.map((_, i) => kindColour(i)),
    }),
  },
  {
    id: "layer",
    title: "Layer",
    about: "transformer layer",
    groups: (wafer) => {
      const first = ({ layers }) => layers?.[0] ?? -1; // layers that share kernels go by their first
      const found = [...new Map(wafer.kernels.map((kernel) => [first(kernel), kernel]))].sort(([a], [b]) => a - b);
      const last = Math.max(1, ...found.map(([layer]) => layer));
      const numbers = found.map(([layer]) => layer);
      return {
        names: found.map(([, kernel]) => layerText(kernel) || "outside the layers"),
        labels: found.map(([, kernel]) => layerText(kernel).replace(/^layers? /, "") || "outside"),
        of: wafer.kernels.map((kernel) => numbers.indexOf(first(kernel))),
        colours: numbers.map((layer) => (layer < 0 ? [140, 140, 140] : SCALE[Math.round(20 + (235 * layer) / last)])),
      };
    },
  },
  {
    id: "memory",
    title: "Memory",
    about: "memory in use of each core",
    unit: "bytes",
    values: (wafer) => {
      const bytes = Array.from(wafer.program, (program) => (program ? wafer.programs[program - 1].bytes : 0));
      return looked(Float64Array, wafer.cell, [0, ...bytes]);
    },
    top: (wafer) => wafer.data.target.memory_bytes,
  },
  {
    id: "load",
    title: "Link load",
    about: "busiest link out of each router",
    unit: "words a token",
    logarithmic: true, // a few links of the host's channels carry much more than all others
    values: (wafer) => {
      const values = new Float64Array(wafer.cell.length);
      for (const { levels, index } of wafer.loads.slice(0, 4)) {
        for (let i = 0; i < values.length; i++) {
          const words = levels[index[i]];
          if (words > values[i]) values[i] = words;
        }
      }
      return values;
    },
  },
  {
    id: "colours",
    title: "Colours",
    about: "routing colours used in each router",
    unit: "colours",
    values: (wafer) => Float64Array.from(wafer.colours),
    top: (wafer) => wafer.data.target.colours,
  },
  {
    id: "pace",
    title: "Pace",
    about: "predicted interval of each kernel",
    unit: "cycles",
    values: (wafer) => perKernel(wafer, (kernel) => kernel.interval ?? 0),
  },
  {
    id: "busy",
    title: "Busy",
    about: "cycles in which a core executed",
    run: true,
    unit: "of the run",
    values: (wafer) => spentShare(wafer, ["busy"]),
    text: percent,
  },
  {
    id: "stall",
    title: "Stalled",
    run: true,
    unit: "of the run",
    text: percent,
    about: "cycles in which a core with work waited: for banks, results, wavelets, or room to send",
    values: (wafer) => spentShare(wafer, STALLS),
  },
];

function viewsOf(wafer) {
  return VIEWS.filter((view) => wafer.data.run || !view.run);
}

// A view worked out for one wafer: {view, values, top, shade(value) -> [r, g, b], groups}.
class Shown {
  constructor(wafer, view, logarithmic) {
    Object.assign(this, { wafer, view, logarithmic: logarithmic && !view.groups });
    if (view.groups) {
      this.groups = view.groups(wafer);
    } else {
      this.values = view.values(wafer);
      this.top = view.top ? view.top(wafer) : this.values.reduce((most, value) => Math.max(most, value), 0) || 1;
      this.least = this.values.reduce((least, value) => (value > 0 && value < least ? value : least), this.top);
    }
  }

  // Several wafers side by side share one scale.
  shareScale(others) {
    if (this.groups) return;
    this.top = Math.max(this.top, ...others.map((other) => other.top));
    this.least = Math.min(this.least, ...others.map((other) => other.least));
  }

  step(value) {
    const share = this.logarithmic
      ? Math.log(value / this.least) / Math.max(1e-9, Math.log(this.top / this.least))
      : value / this.top;
    return Math.max(0, Math.min(STEPS - 1, Math.round(share * (STEPS - 1))));
  }

  // The value at a share of the scale's length.
  valueAt(share) {
    return this.logarithmic ? this.least * (this.top / this.least) ** share : this.top * share;
  }

  text(value) {
    return this.view.text ? this.view.text(value) : count(value);
  }

  // The words for one place.
  at(x, y) {
    if (this.groups) {
      const kernel = this.wafer.kernelAt(x, y);
      return kernel < 0 ? "" : this.groups.names[this.groups.of[kernel]];
    }
    const value = this.values[this.wafer.index(x, y)];
    return value ? `${this.text(value)} ${this.view.unit}` : "";
  }

  // One pixel per cell of the usable wafer. Kernels next to each other of one group differ a little in shade.
  pixels() {
    const { wafer } = this;
    if (this.groups) {
      const other = isDark() ? [0, 0, 0] : [255, 255, 255];
      const seen = new Map();
      const each = wafer.kernels.map((_, i) => {
        const group = this.groups.of[i],
          number = seen.get(group) ?? 0;
        seen.set(group, number + 1);
        return pixel(mixed(this.groups.colours[group], other, number % 2 ? 0.28 : 0.06));
      });
      return looked(Uint32Array, wafer.kernelCell, [0, ...each]);
    }
    const each = SCALE.map(pixel),
      found = new Uint32Array(this.values.length);
    for (let i = 0; i < found.length; i++) if (this.values[i] > 0) found[i] = each[this.step(this.values[i])];
    return found;
  }
}
