// Finds kernels, ONNX nodes and cores by what one types.

const MOST_FOUND = 80;

function find(wafer, text) {
  const place = text.match(/^\s*\(?\s*(\d+)\s*[, ]\s*(\d+)\s*\)?\s*$/);
  if (place) return [{ type: "core", x: Number(place[1]), y: Number(place[2]) }];
  const parts = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!parts.length) return [];
  const score = (name) => {
    const low = name.toLowerCase();
    if (!parts.every((part) => low.includes(part))) return -1;
    return low === parts.join(" ") ? 2 : low.startsWith(parts[0]) ? 1 : 0;
  };
  const found = [];
  wafer.kernels.forEach((kernel, number) => {
    const points = Math.max(score(kernel.name), score(`${kernel.name} ${kernel.kind} ${layerText(kernel)}`));
    if (points >= 0) found.push({ type: "kernel", kernel: number, points });
  });
  wafer.data.nodes.forEach((name, node) => {
    const points = score(name);
    if (points >= 0) found.push({ type: "node", node, points });
  });
  return found.sort((a, b) => b.points - a.points);
}

function described(wafer, hit) {
  if (hit.type === "core") return [`core (${hit.x},${hit.y})`, "place on the wafer"];
  if (hit.type === "node") {
    return [safe(wafer.data.nodes[hit.node]), `ONNX node, ${plural(wafer.kernelsOfNode[hit.node].length, "kernel")}`];
  }
  const kernel = wafer.kernels[hit.kernel];
  return [safe(kernel.name), `kernel, ${kindText(kernel)}`];
}

// A box with a list below it, worked by keyboard or mouse; `choose` is told what was chosen.
class Search {
  constructor(wafer, choose) {
    Object.assign(this, { wafer, choose, found: [], active: -1 });
    this.list = h("ul", { role: "listbox", id: "found", "aria-label": "What was found", hidden: true });
    this.input = h("input", {
      type: "search",
      id: "search",
      role: "combobox",
      "aria-expanded": "false",
      "aria-controls": "found",
      "aria-autocomplete": "list",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "Kernel, ONNX node, or x,y   ( / )",
      "aria-label": "Search kernels, ONNX nodes and cores",
      oninput: () => this.update(),
      onkeydown: (event) => this.key(event),
      onfocus: () => {
        this.input.select();
        this.update();
      },
      onblur: () => this.close(),
    });
    this.element = h("div", { class: "search" }, this.input, this.list);
  }

  update() {
    const all = find(this.wafer, this.input.value);
    this.found = all.slice(0, MOST_FOUND);
    this.active = this.found.length ? 0 : -1;
    const options = this.found.map((hit, i) => {
      const [name, note] = described(this.wafer, hit);
      // Before the box loses the focus, which closes the list.
      return h(
        "li",
        {
          role: "option",
          id: `found-${i}`,
          onpointerdown: (event) => {
            event.preventDefault();
            this.take(i);
          },
        },
        h("b", {}, name),
        h("small", {}, ` ${note}`),
      );
    });
    if (all.length > MOST_FOUND)
      options.push(h("li", { class: "more" }, `${all.length - MOST_FOUND} more: type more letters`));
    if (!all.length && this.input.value.trim()) options.push(h("li", { class: "more" }, "nothing is called that"));
    this.list.replaceChildren(...options);
    this.list.hidden = !options.length;
    this.input.setAttribute("aria-expanded", !this.list.hidden);
    this.mark();
  }

  mark() {
    [...this.list.children].forEach((option, i) => option.setAttribute("aria-selected", i === this.active));
    if (this.active >= 0) {
      this.input.setAttribute("aria-activedescendant", `found-${this.active}`);
      this.list.children[this.active].scrollIntoView({ block: "nearest" });
    } else {
      this.input.removeAttribute("aria-activedescendant");
    }
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.found.length) {
      this.active = (this.active + step + this.found.length) % this.found.length;
      this.mark();
    } else if (event.key === "Enter" && this.active >= 0) {
      this.take(this.active);
    } else if (event.key === "Escape") {
      this.input.value = "";
      this.input.blur();
      event.stopPropagation();
    } else {
      return;
    }
    event.preventDefault();
  }

  take(i) {
    this.choose(this.found[i]);
    this.input.blur();
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
  }
}
