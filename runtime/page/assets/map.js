// The wafer as a map one can zoom and move. What it shows is drawn by draw.js; what is marked on it is set from outside.

const CLOSEST = 56; // pixels of a core
const CLICK = 5; // pixels a pointer may move between down and up
const NO_MARKS = { kernels: [], core: null, lanes: null, channels: [], streams: [] };

class WaferMap {
  // on.select(x, y), on.hover(x, y) or on.hover(null), on.move(view): told what the user does.
  constructor(wafer, name, on) {
    Object.assign(this, {
      wafer,
      on,
      marks: NO_MARKS,
      shown: null,
      dirty: false,
      home: wafer.used(),
      view: { x: 0, y: 0, scale: 1 },
    });
    this.canvas = h("canvas", {
      class: "wafer",
      tabindex: 0,
      role: "application",
      "aria-label": `Map of the wafer: ${safe(name)}`,
      "aria-describedby": "map-keys",
    });
    this.mini = h("canvas", { class: "mini", "aria-hidden": "true", title: "The whole wafer: click to go there" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.element = h("div", { class: "map" }, this.canvas, this.mini, this.tip);
    this.bitmap = h("canvas", { width: wafer.columns, height: wafer.rows });
    this.pointers = new Map();
    this.listen();
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => this.hover(null));
    canvas.addEventListener("dblclick", (event) => this.zoom(2.5, ...this.place(event)));
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const lines = event.deltaMode === 1 ? 20 : 1;
        this.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), ...this.place(event));
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => this.key(event));
    this.mini.addEventListener("pointerdown", (event) => this.jump(event));
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  show(shown) {
    this.shown = shown;
    const context = this.bitmap.getContext("2d");
    const image = context.createImageData(this.wafer.columns, this.wafer.rows);
    new Uint32Array(image.data.buffer).set(shown.pixels());
    context.putImageData(image, 0, 0);
    this.redraw();
  }

  mark(marks) {
    this.marks = { ...NO_MARKS, ...marks };
    this.redraw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const first = !this.width;
    Object.assign(this, { width, height, ratio: devicePixelRatio || 1 });
    for (const [canvas, w, hgt] of [
      [this.canvas, width, height],
      [this.mini, ...this.miniSize()],
    ]) {
      canvas.width = Math.round(w * this.ratio);
      canvas.height = Math.round(hgt * this.ratio);
      canvas.style.width = `${w}px`;
      canvas.style.height = `${hgt}px`;
    }
    if (first) this.fit();
    else this.redraw();
  }

  miniSize() {
    const [columns, rows] = this.wafer.data.target.fabric;
    const scale = Math.min(96 / columns, 120 / rows);
    return [Math.round(columns * scale), Math.round(rows * scale)];
  }

  // The closest view of a box [x, y, width, height] with some room around it.
  fit(box = this.home, most = CLOSEST) {
    const [x, y, width, height] = box;
    const scale = Math.min(most, 0.92 * Math.min(this.width / width, this.height / height));
    this.setView({ x: x + width / 2, y: y + height / 2, scale });
  }

  // The middle of the view in cores, and pixels per core. Tells on.move unless it was told from there.
  setView(view, told = false) {
    const [columns, rows] = this.wafer.data.target.fabric;
    const least = 0.6 * Math.min(this.width / columns, this.height / rows);
    const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
    this.view = {
      x: clamp(view.x, 0, columns),
      y: clamp(view.y, 0, rows),
      scale: clamp(view.scale, least, CLOSEST),
    };
    Object.assign(this.canvas.dataset, {
      x: this.view.x.toFixed(2),
      y: this.view.y.toFixed(2),
      scale: this.view.scale.toFixed(3),
    });
    this.redraw();
    if (!told) this.on.move?.(this.view);
  }

  // Zoom around a point of the canvas (its middle, if none is given).
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const { x, y, scale } = this.view;
    const next = Math.min(CLOSEST, scale * factor);
    const shift = (pixels, size) => (pixels - size / 2) * (1 / scale - 1 / next);
    this.setView({ x: x + shift(px, this.width), y: y + shift(py, this.height), scale: next });
  }

  pan(dx, dy) {
    const { x, y, scale } = this.view;
    this.setView({ x: x + dx / scale, y: y + dy / scale, scale });
  }

  // Bring a place into view, closer if it could not be seen otherwise.
  reveal([x, y, width, height], closer = 0) {
    const { view } = this;
    const seen =
      Math.abs(x + width / 2 - view.x) + width / 2 < this.width / 2 / view.scale &&
      Math.abs(y + height / 2 - view.y) + height / 2 < this.height / 2 / view.scale;
    if (seen && view.scale >= closer) return;
    const fitting = 0.8 * Math.min(this.width / width, this.height / height);
    this.setView({ x: x + width / 2, y: y + height / 2, scale: Math.min(fitting, Math.max(view.scale, closer)) });
  }

  place(event) {
    const frame = this.canvas.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  // The core under a point of the canvas.
  cell(px, py) {
    const { x, y, scale } = this.view;
    return [Math.floor(x + (px - this.width / 2) / scale), Math.floor(y + (py - this.height / 2) / scale)];
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.place(event);
    this.pointers.set(event.pointerId, { at, from: at, moved: false });
    this.canvas.focus({ preventScroll: true });
  }

  moved(event) {
    const at = this.place(event),
      pointer = this.pointers.get(event.pointerId);
    if (!pointer) {
      this.hover(at);
      return;
    }
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, other]) => other);
    const [dx, dy] = [at[0] - pointer.at[0], at[1] - pointer.at[1]];
    if (Math.hypot(at[0] - pointer.from[0], at[1] - pointer.from[1]) > CLICK) pointer.moved = true;
    if (others.length) {
      const distance = (point) => Math.hypot(point[0] - others[0].at[0], point[1] - others[0].at[1]);
      this.zoom(distance(at) / Math.max(1, distance(pointer.at)), ...others[0].at);
    } else if (pointer.moved) {
      this.hover(null);
      this.pan(-dx, -dy);
    }
    pointer.at = at;
  }

  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (pointer && !pointer.moved) this.on.select(...this.cell(...pointer.at));
  }

  hover(at) {
    const cell = at && this.cell(...at);
    const text = cell && this.wafer.inside(...cell) ? this.on.hover(...cell) : null;
    this.tip.hidden = !text;
    if (!text) return;
    this.tip.replaceChildren(...text.map((line, i) => h(i ? "div" : "strong", {}, line)));
    const [width, height] = [this.tip.offsetWidth, this.tip.offsetHeight];
    this.tip.style.left = `${Math.max(4, at[0] + 16 + width > this.width ? at[0] - width - 12 : at[0] + 16)}px`;
    this.tip.style.top = `${Math.max(4, at[1] + 16 + height > this.height ? at[1] - height - 12 : at[1] + 16)}px`;
  }

  key(event) {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (arrow && event.shiftKey && this.marks.core) {
      const { x, y } = this.marks.core;
      this.on.select(x + arrow[0], y + arrow[1], true);
    } else if (arrow) {
      this.pan(...arrow.map((step) => (step * Math.min(this.width, this.height)) / 8));
    } else if (event.key === "Enter") {
      this.on.select(...this.cell(this.width / 2, this.height / 2));
    } else {
      return;
    }
    event.preventDefault();
  }

  jump(event) {
    const frame = this.mini.getBoundingClientRect();
    const [columns, rows] = this.wafer.data.target.fabric;
    const x = ((event.clientX - frame.left) / frame.width) * columns;
    const y = ((event.clientY - frame.top) / frame.height) * rows;
    this.setView({ ...this.view, x, y });
  }

  // Draws once before the next frame, however often it is asked.
  redraw() {
    if (this.dirty || !this.width || !this.shown) return;
    this.dirty = true;
    requestAnimationFrame(() => {
      this.dirty = false;
      drawMap(this);
      drawMini(this);
    });
  }
}
