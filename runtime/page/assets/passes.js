// The passes of a compilation, and the IR they left, opened region by region.

function passes(data) {
  const stages = data.stages;
  if (!stages.length && !Object.keys(data.seconds).length) return null;
  return h(
    "details",
    { class: "section", id: "passes", open: true },
    h("summary", {}, h("h2", {}, "Passes and IR")),
    Object.keys(data.seconds).length > 0 && phaseBar(data.seconds),
    stages.length > 0 && passTable(stages),
    stages.length > 0 && h("h3", {}, "IR after each pass"),
    stages.map((stage, i) => stageText(stage, i)),
  );
}

function phaseBar(seconds) {
  const all = Object.values(seconds).reduce((sum, value) => sum + value, 0);
  const phases = Object.entries(seconds);
  const shades = phases.map((_, i) => css(kindColour(i)));
  return [
    h(
      "div",
      { class: "bar", role: "img", "aria-label": "seconds by phase" },
      phases.map(([name, value], i) =>
        h("i", {
          title: `${safe(name)}: ${value.toFixed(2)} s`,
          style: { width: `${(100 * value) / all}%`, background: shades[i] },
        }),
      ),
    ),
    h(
      "div",
      { class: "keys" },
      phases.map(([name, value], i) =>
        h("span", {}, h("i", { style: { background: shades[i] } }), `${safe(name)} ${value.toFixed(2)} s`),
      ),
      h("span", {}, `all ${all.toFixed(1)} s`),
    ),
  ];
}

function opCount(stage) {
  return Object.values(stage.ops).reduce((sum, value) => sum + value, 0);
}

function passTable(stages) {
  const known = stages.some((stage) => stage.seconds !== null);
  const body = stages.map((stage, i) => {
    const before = i ? opCount(stages[i - 1]) : null,
      now = opCount(stage);
    return [
      i,
      safe(stage.phase),
      h("button", { class: "link", type: "button", onclick: () => openStage(i) }, safe(stage.name)),
      ...(known ? [stage.seconds === null ? "" : h("span", { class: "number" }, stage.seconds.toFixed(3))] : []),
      now,
      before === null ? "" : signed(now - before),
      changedOps(i ? stages[i - 1].ops : {}, stage.ops),
    ];
  });
  return h(
    "div",
    { class: "scroll" },
    rows(["#", "phase", "pass", ...(known ? ["seconds"] : []), "ops", "change", "most changed"], body),
  );
}

function signed(number) {
  return number ? `${number > 0 ? "+" : "−"}${count(Math.abs(number))}` : "·";
}

function changedOps(before, now) {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  return names
    .map((name) => [name, (now[name] ?? 0) - (before[name] ?? 0)])
    .filter(([, change]) => change)
    .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))
    .slice(0, 4)
    .map(([name, change]) => `${safe(name)} ${signed(change)}`)
    .join(", ");
}

function openStage(i) {
  const details = document.getElementById(`ir-${i}`);
  details.open = true;
  details.scrollIntoView({ block: "start" });
  details.querySelector("summary").focus({ preventScroll: true });
}

function stageText(stage, i) {
  const cut = stage.left_out ? `; ${plural(stage.left_out, "line")} left out` : "";
  const text = h("div", { class: "ir" });
  const details = h(
    "details",
    {
      id: `ir-${i}`,
      class: stage.ends ? "ir-stage ends" : "ir-stage",
      ontoggle: async () => {
        if (!details.open || text.firstChild) return;
        text.append(h("pre", {}, "..."));
        const found = stage.text
          ? await unpack(stage.text)
          : "This text is left out here: the file of --dump-ir has it.";
        text.replaceChildren(...regions(found.split("\n"), true));
      },
    },
    h(
      "summary",
      {},
      h("b", {}, `${String(i).padStart(2, "0")} ${safe(stage.name)}`),
      h(
        "small",
        {},
        ` phase ${safe(stage.phase)}, ${plural(opCount(stage), "op")}, ${short(stage.characters)} characters${cut}`,
      ),
    ),
    text,
  );
  return details;
}

const OP = /^ *(?:%[^=]* = )?(?:[a-z][\w-]*\.[\w-]+(?=[ (:{]|$)|resources \{$)/;

function indent(line) {
  return line.search(/\S|$/);
}

// How many lines from `start` on belong to one op: those that go on with it are further indented, or close its attributes.
function statementLength(lines, start) {
  if (!OP.test(lines[start])) return 1;
  const level = indent(lines[start]);
  let end = start + 1;
  while (
    end < lines.length &&
    !OP.test(lines[end]) &&
    ((indent(lines[end]) > level && !/^ *(\.\.\.|\})/.test(lines[end])) || lines[end] === `${" ".repeat(level)}} {`)
  )
    end++;
  return end - start;
}

// Lines of IR as elements: plain ones together, those that open a region as something that unfolds; the first one is
// open from the start if `unfold` says so.
function regions(lines, unfold = false) {
  const found = [];
  let plain = [];
  const flush = () => {
    if (plain.length) found.push(h("pre", {}, plain.join("\n")));
    plain = [];
  };
  for (let i = 0; i < lines.length;) {
    const length = statementLength(lines, i),
      head = lines.slice(i, i + length);
    let end = i + length;
    if (!/\{( \(.*\))?$/.test(head[length - 1])) {
      plain.push(...head);
      i = end;
      continue;
    }
    const level = indent(head[0]);
    while (end < lines.length && !(indent(lines[end]) <= level && lines[end].trimStart().startsWith("}"))) end++;
    flush();
    found.push(region(head, lines.slice(i + length, end), lines[end] ?? "", unfold && !i));
    i = end + 1;
  }
  flush();
  return found;
}

function region(head, inner, last, unfold) {
  const body = h("div");
  const fill = () => {
    if (body.firstChild) return;
    body.append(
      ...(head.length > 1 ? [h("pre", {}, head.slice(1).join("\n"))] : []),
      ...regions(inner),
      h("pre", {}, last),
    );
  };
  const details = h(
    "details",
    { class: "region", open: unfold, ontoggle: () => details.open && fill() },
    h("summary", {}, h("code", {}, head[0]), h("small", {}, ` ${plural(inner.length, "line")}`)),
    body,
  );
  if (unfold) fill();
  return details;
}
