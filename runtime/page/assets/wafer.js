// One image: its kernels by place and by name, and its cores. Coordinates are the fabric's, x east and y south.

const HOST = -1;
const LINK_NAMES = ["north", "east", "south", "west", "to the core", "from the core"];

// The smallest box around others [x, y, width, height]; null for none.
function around(boxes) {
  if (!boxes.length) return null;
  const left = Math.min(...boxes.map((b) => b[0])),
    top = Math.min(...boxes.map((b) => b[1]));
  return [
    left,
    top,
    Math.max(...boxes.map((b) => b[0] + b[2])) - left,
    Math.max(...boxes.map((b) => b[1] + b[3])) - top,
  ];
}

// "layers 0 to 1", or nothing for what is outside the layers.
function layerText({ layers }) {
  if (!layers) return "";
  return layers[0] === layers[1] ? `layer ${layers[0]}` : `layers ${layers[0]} to ${layers[1]}`;
}

function kindText(kernel) {
  return [safe(kernel.kind), layerText(kernel)].filter(Boolean).join(", ");
}

class Wafer {
  static async open(data) {
    const wafer = new Wafer(data);
    await wafer.unpack();
    return wafer;
  }

  constructor(data) {
    this.data = data;
    this.kernels = data.kernels;
    [this.x0, this.y0, this.columns, this.rows] = data.target.usable;
    this.texts = lazily(data.texts);
    this.kernelNumbers = new Map(this.kernels.map((kernel, i) => [kernel.name, i]));
    this.kernelsOfNode = data.nodes.map(() => []);
    this.kernels.forEach((kernel, i) => kernel.nodes.forEach((node) => this.kernelsOfNode[node].push(i)));
    this.kinds = [...new Set(this.kernels.map((kernel) => kernel.kind))];
    this.incoming = this.kernels.map(() => []);
    this.outgoing = this.kernels.map(() => []);
    data.streams.forEach((stream, i) => {
      if (stream.from !== HOST) this.outgoing[stream.from].push(i);
      stream.to.forEach((to, sink) => to !== HOST && this.incoming[to].push([i, sink]));
    });
    this.paintKernels();
  }

  async unpack() {
    const { cores, loads, routes, programs, run } = this.data;
    const names = Object.keys(routes);
    const [cell, program, inq, outq, found, levels, columns, spent] = await Promise.all([
      unpack(cores.cell),
      unpack(cores.program),
      unpack(cores.inq),
      unpack(cores.outq),
      unpack(programs),
      Promise.all(loads.map(unpackLevels)),
      Promise.all(names.map((name) => unpack(routes[name]))),
      Promise.all(run ? run.spent.map(unpack) : []),
    ]);
    Object.assign(this, { cell, program, inq, outq, programs: found, loads: levels, spent });
    this.routes = Object.fromEntries(names.map((name, i) => [name, columns[i]]));
    this.colours = this.countColours();
    this.network = new Network(this);
  }

  // Number of the kernel + 1 in every cell of its rectangle.
  paintKernels() {
    this.kernelCell = new Uint16Array(this.columns * this.rows);
    this.kernels.forEach(({ box }, i) => this.eachRow(...box, (start, end) => this.kernelCell.fill(i + 1, start, end)));
  }

  countColours() {
    const counts = new Uint8Array(this.columns * this.rows);
    const { x, y, w, h: height } = this.routes;
    for (let i = 0; i < x.length; i++) {
      this.eachRow(x[i], y[i], w[i], height[i], (start, end) => {
        for (let at = start; at < end; at++) counts[at]++;
      });
    }
    return counts;
  }

  // Every row of a box as its cells start .. end - 1, as far as it is on the usable wafer: an illegal image's may not be.
  eachRow(x, y, width, height, visit) {
    const left = Math.max(x, this.x0),
      right = Math.min(x + width, this.x0 + this.columns),
      bottom = Math.min(y + height, this.y0 + this.rows);
    if (left >= right) return;
    for (let row = Math.max(y, this.y0); row < bottom; row++) visit(this.index(left, row), this.index(right, row));
  }

  inside(x, y) {
    return x >= this.x0 && y >= this.y0 && x < this.x0 + this.columns && y < this.y0 + this.rows;
  }

  index(x, y) {
    return (y - this.y0) * this.columns + x - this.x0;
  }

  kernelAt(x, y) {
    return this.inside(x, y) ? this.kernelCell[this.index(x, y)] - 1 : -1;
  }

  // The core at a place: its kernel, row and column in it, number in the core table, program (-1: idle), queues' colours.
  coreAt(x, y) {
    const kernel = this.kernelAt(x, y);
    if (kernel < 0) return null;
    const kind = this.cell[this.index(x, y)] - 1;
    if (kind < 0) return null;
    const [row, column] = this.local(kernel, x, y);
    const queues = (table, each) => Array.from(table.subarray(kind * each, (kind + 1) * each), (colour) => colour - 1);
    return {
      x,
      y,
      kernel,
      row,
      column,
      number: this.kernels[kernel].first + row * this.kernels[kernel].cols + column,
      program: this.program[kind] - 1,
      inq: queues(this.inq, this.data.cores.queues.inq),
      outq: queues(this.outq, this.data.cores.queues.outq),
    };
  }

  // Row and column in a kernel's own rectangle: runtime.geometry.Orientation.point the other way.
  local(number, x, y) {
    const {
      box: [left, top, width, height],
      turned,
    } = this.kernels[number];
    let across = x - left,
      down = y - top;
    if (turned & 2) across = width - 1 - across;
    if (turned & 4) down = height - 1 - down;
    return turned & 1 ? [across, down] : [down, across];
  }

  // Words per token on each of LINK_NAMES at a router.
  loadAt(x, y) {
    const at = this.index(x, y);
    return this.loads.map(({ levels, index }) => levels[index[at]]);
  }

  // Cycles of a core by reason, in a run.
  spentAt(core) {
    return this.spent.map((column) => column[core.number]);
  }

  // The smallest rectangle around all kernels, ports included; the usable wafer if there are none.
  used() {
    const boxes = this.kernels.map((kernel) => kernel.box);
    for (const port of this.data.ports) boxes.push(...port.lanes.map(([x, y]) => [x, y, 1, 1]));
    return around(boxes) ?? this.data.target.usable;
  }
}
