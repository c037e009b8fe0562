// What is known of a kernel, and of an ONNX node.

const OWNER_COLOURS = {
  weights: "#0072b2",
  cache: "#009e73",
  buffer: "#e69f00",
  constants: "#56b4e9",
  fifo: "#cc79a7",
  code: "#d55e00",
  queues: "#f0e442",
};
const SHOWN_NODES = 10;

function ownerColour(owner) {
  return OWNER_COLOURS[owner] ?? "#8c8c8c";
}

// A bar of parts [{name, value, colour}] of a whole.
function bar(parts, whole, label) {
  return h(
    "div",
    { class: "bar", role: "img", "aria-label": label },
    parts
      .filter((part) => part.value > 0)
      .map((part) =>
        h("i", {
          title: `${safe(part.name)}: ${count(part.value)}`,
          style: { width: `${(100 * part.value) / whole}%`, background: part.colour },
        }),
      ),
  );
}

function section(title, ...children) {
  return h("section", {}, h("h3", {}, title), children);
}

function kernelDetail(wafer, number, go) {
  const kernel = wafer.kernels[number];
  const [x, y, width, height] = kernel.box;
  return [
    h("h2", {}, safe(kernel.name)),
    h(
      "p",
      { class: "lead" },
      `${kindText(kernel)}: ${width} × ${height} cores at (${x},${y}) `,
      go.zoom(kernel.box),
    ),
    facts([
      ["cores", `${count(kernel.cores)} of ${count(width * height)}`],
      [
        "interval",
        kernel.interval === null ? UNKNOWN : `${count(kernel.interval)} cycles a token${rank(wafer, kernel)}`,
      ],
      ["latency", kernel.latency === null ? UNKNOWN : `${count(kernel.latency)} cycles`],
      ["arithmetic", `${short(kernel.macs)} multiply-accumulates a token`],
      ["hottest link", `${count(kernel.link)} words a token`],
      ["colours", `at most ${kernel.colours} of ${wafer.data.target.colours} in a router`],
      kernel.remark && ["remark", safe(kernel.remark)],
    ]),
    wafer.data.run && kernelRun(wafer, number),
    nodeList(wafer, kernel, go),
    kernelMemory(wafer, kernel),
    streamList(wafer, number, go),
    roleList(wafer, kernel),
  ];
}

function facts(pairs) {
  return h(
    "dl",
    { class: "pairs" },
    pairs.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

function rank(wafer, kernel) {
  const slower = wafer.kernels.filter((other) => other.interval > kernel.interval).length;
  return slower ? `; ${count(slower)} of ${count(wafer.kernels.length)} are slower` : "; the slowest";
}

const REASON_COLOURS = {
  busy: "#009e73",
  conflict: "#d55e00",
  dependency: "#e69f00",
  no_wavelet: "#56b4e9",
  back_pressure: "#cc79a7",
  idle: "#9a9a9a",
};

function spentBar(reasons, cycles) {
  const total = cycles.reduce((sum, value) => sum + value, 0) || 1;
  const name = (reason) => reason.replace("_", " ");
  return [
    bar(
      reasons.map((reason, i) => ({ name: name(reason), value: cycles[i], colour: REASON_COLOURS[reason] })),
      total,
      "cycles by reason",
    ),
    h(
      "div",
      { class: "keys" },
      reasons.map(
        (reason, i) =>
          cycles[i] > 0 &&
          h(
            "span",
            {},
            h("i", { style: { background: REASON_COLOURS[reason] } }),
            `${name(reason)} ${percent(cycles[i] / total)}`,
          ),
      ),
    ),
  ];
}

function kernelRun(wafer, number) {
  const run = wafer.data.run,
    measured = run.kernels[number];
  return section(
    "In the cycle run",
    facts([
      ["interval", `${count(measured.interval_cycles)} cycles a token, waiting included`],
      ["busiest core", `${count(measured.work_cycles)} cycles of work a token`],
      ["latency", `${count(measured.latency_cycles)} cycles`],
    ]),
    spentBar(run.reasons, measured.spent),
  );
}

function nodeList(wafer, kernel, go) {
  const items = kernel.nodes.map((node) => h("li", {}, go.node(node)));
  const rest = items.splice(SHOWN_NODES);
  return section(
    `Works for ${plural(kernel.nodes.length, "ONNX node")}`,
    h("ul", { class: "names" }, items),
    rest.length > 0 && h("details", {}, h("summary", {}, `${rest.length} more`), h("ul", { class: "names" }, rest)),
  );
}

function kernelMemory(wafer, kernel) {
  const limit = wafer.data.target.memory_bytes;
  const owners = Object.entries(kernel.owners).sort((a, b) => b[1][1] - a[1][1]);
  return section(
    "Memory by owner",
    bar(
      owners.map(([owner, [, total]]) => ({ name: owner, value: total / kernel.cores, colour: ownerColour(owner) })),
      limit,
      "mean bytes of a core by owner, of all there are",
    ),
    rows(
      ["owner", "most in a core", "mean", "all cores"],
      [
        ...owners.map(([owner, [most, total]]) => [ownerName(owner), most, Math.round(total / kernel.cores), total]),
        ["all", kernel.memory_max, Math.round(kernel.memory_total / Math.max(1, kernel.cores)), kernel.memory_total],
      ],
    ),
  );
}

function ownerName(owner) {
  return h("span", { class: "key" }, h("i", { style: { background: ownerColour(owner) } }), safe(owner));
}

function streamList(wafer, number, go) {
  const streams = wafer.data.streams;
  const line = (direction, stream, kernels) =>
    h(
      "li",
      { class: direction },
      kernels.map((other, i) => [i ? ", " : "", other === HOST ? "host" : go.kernel(other)]),
      h("small", {}, ` ${plural(stream.lanes, "lane")}, ${count(stream.words)} words a token`),
    );
  const incoming = wafer.incoming[number].map(([i]) => line("in", streams[i], [streams[i].from]));
  const outgoing = wafer.outgoing[number].map((i) => line("out", streams[i], streams[i].to));
  return section(
    "Streams",
    h(
      "ul",
      { class: "streams" },
      incoming.length ? incoming : h("li", { class: "in" }, "nothing comes in"),
      outgoing.length ? outgoing : h("li", { class: "out" }, "nothing goes out"),
    ),
  );
}

// Programs of a kernel with their text, which is unpacked when it is opened.
function roleList(wafer, kernel) {
  const roles = [...kernel.programs].sort((a, b) => b[1] - a[1]);
  return section(
    plural(roles.length, "program"),
    roles.map(([number, cores]) => {
      const program = wafer.programs[number];
      return programText(
        wafer,
        number,
        `${safe(program.name)}: ${plural(cores, "core")}, ${count(program.bytes)} bytes`,
      );
    }),
  );
}

function programText(wafer, number, title, open = false) {
  const text = h("pre", { class: "program", tabindex: 0 }, "...");
  const fill = async () => {
    const found = (await wafer.texts())[number];
    text.textContent = found ?? "This text is left out here: wsec inspect model.wse --core X,Y prints it.";
  };
  const details = h("details", { open, ontoggle: () => details.open && fill() }, h("summary", {}, title), text);
  if (open) fill();
  return details;
}

function nodeDetail(wafer, node, go) {
  const kernels = wafer.kernelsOfNode[node];
  return [
    h("h2", {}, safe(wafer.data.nodes[node])),
    h("p", { class: "lead" }, `ONNX node, worked for by ${plural(kernels.length, "kernel")}`),
    h(
      "ul",
      { class: "names" },
      kernels.map((number) =>
        h(
          "li",
          {},
          go.kernel(number),
          h(
            "small",
            {},
            ` ${safe(wafer.kernels[number].kind)}, ${plural(wafer.kernels[number].cores, "core")}, also for ` +
              plural(wafer.kernels[number].nodes.length - 1, "other node"),
          ),
        ),
      ),
    ),
  ];
}

// Kernels of one kind or layer.
function groupDetail(wafer, name, numbers, go) {
  const sum = (value) => numbers.reduce((total, number) => total + value(wafer.kernels[number]), 0);
  return [
    h("h2", {}, safe(name)),
    h(
      "p",
      { class: "lead" },
      `${plural(numbers.length, "kernel")}, ${plural(
        sum((kernel) => kernel.cores),
        "core",
      )}, ` +
        `${short(sum((kernel) => kernel.memory_total))} bytes, ${short(sum((kernel) => kernel.macs))} multiply-accumulates a token`,
    ),
    h(
      "ul",
      { class: "names" },
      numbers.map((number) => h("li", {}, go.kernel(number))),
    ),
  ];
}
