// Follows wavelets through the router table, as the machine does.

const STEP = [
  [0, -1],
  [1, 0],
  [0, 1],
  [-1, 0],
]; // north, east, south, west
const RAMP = 4;
const BUCKET = 16;
const LONGEST = 200000; // routers of one channel; no image has more

function opposite(direction) {
  return direction === RAMP ? RAMP : (direction + 2) % 4;
}

class Network {
  constructor(wafer) {
    this.wafer = wafer;
    this.starts = null; // the index is made when the first channel is followed
  }

  // Rectangles of the router table by square of BUCKET routers: those of square b are order[starts[b] .. starts[b + 1]].
  prepare() {
    const { x, y, w, h: height } = this.wafer.routes;
    const [columns, rows] = this.wafer.data.target.fabric;
    this.across = Math.ceil(columns / BUCKET);
    const squares = this.across * Math.ceil(rows / BUCKET);
    const each = (visit) => {
      for (let i = 0; i < x.length; i++) {
        const right = Math.floor((x[i] + w[i] - 1) / BUCKET),
          bottom = Math.floor((y[i] + height[i] - 1) / BUCKET);
        for (let row = Math.floor(y[i] / BUCKET); row <= bottom; row++) {
          for (let column = Math.floor(x[i] / BUCKET); column <= right; column++) visit(row * this.across + column, i);
        }
      }
    };
    this.starts = new Uint32Array(squares + 1);
    each((square) => this.starts[square + 1]++);
    for (let square = 0; square < squares; square++) this.starts[square + 1] += this.starts[square];
    const next = this.starts.slice();
    this.order = new Uint32Array(this.starts[squares]);
    each((square, i) => {
      this.order[next[square]++] = i;
    });
  }

  // Entries of the router table at a place: [{colour, inputs, outputs}], or only that of one colour.
  entries(x, y, colour = null) {
    if (!this.starts) this.prepare();
    const routes = this.wafer.routes,
      found = [];
    const square = Math.floor(y / BUCKET) * this.across + Math.floor(x / BUCKET);
    for (let at = this.starts[square]; at < this.starts[square + 1]; at++) {
      const i = this.order[at];
      const here =
        x >= routes.x[i] && y >= routes.y[i] && x < routes.x[i] + routes.w[i] && y < routes.y[i] + routes.h[i];
      if (!here || (colour !== null && routes.colour[i] !== colour)) continue;
      found.push({ colour: routes.colour[i], inputs: routes.inputs[i], outputs: routes.outputs[i] });
      if (colour !== null) break;
    }
    return found.sort((a, b) => a.colour - b.colour);
  }

  // What enters a router from `side` on `colour`: `links` it takes, [x, y, next x, next y], and the `ends` where it leaves
  // the routers: {x, y, hops, host}.
  forward(x, y, side, colour) {
    const links = [],
      ends = [],
      seen = new Set();
    const stack = [[x, y, side, 0]];
    while (stack.length && links.length < LONGEST) {
      const [column, row, from, hops] = stack.pop();
      const [entry] = this.entries(column, row, colour);
      if (!entry || !((entry.inputs >> from) & 1)) continue;
      for (let direction = 0; direction <= RAMP; direction++) {
        if (!((entry.outputs >> direction) & 1)) continue;
        if (direction === RAMP) {
          ends.push({ x: column, y: row, hops, host: false });
          continue;
        }
        const following = [column + STEP[direction][0], row + STEP[direction][1]];
        if (!this.wafer.inside(...following)) {
          ends.push({ x: column, y: row, hops, host: true });
          continue;
        }
        const key = following[1] * 65536 + following[0];
        if (seen.has(key)) continue;
        seen.add(key);
        links.push([column, row, ...following]);
        stack.push([...following, opposite(direction), hops + 1]);
      }
    }
    return { links, ends };
  }

  // Where the words come from that a router gives its core on `colour`: `links` and `ends` against the stream.
  backward(x, y, colour) {
    const links = [],
      ends = [],
      seen = new Set([y * 65536 + x]);
    const stack = [[x, y, 0]];
    while (stack.length && links.length < LONGEST) {
      const [column, row, hops] = stack.pop();
      const [entry] = this.entries(column, row, colour);
      if (!entry) continue;
      for (let side = 0; side <= RAMP; side++) {
        if (!((entry.inputs >> side) & 1)) continue;
        if (side === RAMP) {
          ends.push({ x: column, y: row, hops, host: false });
          continue;
        }
        const before = [column + STEP[side][0], row + STEP[side][1]];
        if (!this.wafer.inside(...before)) {
          ends.push({ x: column, y: row, hops, host: true });
          continue;
        }
        const [source] = this.entries(...before, colour);
        const key = before[1] * 65536 + before[0];
        if (!source || !((source.outputs >> opposite(side)) & 1) || seen.has(key)) continue;
        seen.add(key);
        links.push([...before, column, row]);
        stack.push([...before, hops + 1]);
      }
    }
    return { links, ends };
  }

  // Every channel of a core: {direction, queue, colour, links, ends}.
  channels(core) {
    const found = [];
    core.inq.forEach((colour, queue) => {
      if (colour >= 0) found.push({ direction: "in", queue, colour, ...this.backward(core.x, core.y, colour) });
    });
    core.outq.forEach((colour, queue) => {
      if (colour >= 0) found.push({ direction: "out", queue, colour, ...this.forward(core.x, core.y, RAMP, colour) });
    });
    return found;
  }
}
