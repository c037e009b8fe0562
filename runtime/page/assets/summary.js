// The few numbers that matter.

function card(title, value, note, warn = false) {
  return h(
    "div",
    { class: warn ? "card warn" : "card" },
    h("dt", {}, title),
    h("dd", {}, value),
    note && h("dd", { class: "note" }, note),
  );
}

function cards(data, go) {
  const { summary, place, route, memory } = data.report;
  const link0 = route.hottest_links[0];
  const owners = memory.owners;
  const fullest = memory.fullest[0];
  const pace = slowest(data);
  return h(
    "dl",
    { class: "cards" },
    card(
      "Interval",
      [count(summary.interval_cycles), h("small", {}, " cycles")],
      [
        `between tokens, predicted: ${short(summary.tokens_per_second)} tokens/s; slowest: `,
        pace ? go.kernelOrText(pace.name) : UNKNOWN,
      ],
    ),
    summary.loops.length > 0 &&
      card(
        "Shared kernels",
        [count(summary.loops[0].passes), h("small", {}, " layers each")],
        `${plural(summary.loops.length, "set")}; a pass takes up to ` +
          `${count(Math.max(...summary.loops.map((loop) => loop.pass_cycles)))} cycles, the next token follows the last`,
      ),
    card(
      "Latency",
      [count(summary.latency_cycles), h("small", {}, " cycles")],
      `a lone token, predicted: ${short(summary.tokens_per_second_alone)} tokens/s`,
    ),
    data.run &&
      card(
        "Measured",
        [count(data.run.cycles_per_token ?? data.run.first_token_cycles), h("small", {}, " cycles")],
        `between tokens, cycle run of ${plural(data.run.tokens, "token")}: ${short(data.run.tokens_per_second)} tokens/s, first after ${count(data.run.first_token_cycles)}`,
      ),
    card(
      "Cores",
      [count(summary.cores_used), h("small", {}, ` of ${count(summary.cores_usable)}`)],
      `${percent(summary.cores_used / summary.cores_usable)}; ${plural(summary.kernels, "kernel")}` +
        (summary.cores_dead ? `; ${plural(summary.cores_dead, "dead core")}` : ""),
    ),
    card(
      "Arithmetic",
      [short(summary.flops_per_token), h("small", {}, " FLOP")],
      `a token, ${percent(summary.utilisation_of_used)} of what the cores used could do`,
    ),
    card(
      "Memory",
      [count(owners.all?.max), h("small", {}, ` of ${count(memory.limit)}`)],
      [
        "bytes, fullest core: ",
        fullest ? go.core(...fullest.at) : UNKNOWN,
        `; ${percent(memory.share_of_wafer)} of the wafer's`,
      ],
    ),
    card(
      "Hottest link",
      [count(link0?.words), h("small", {}, " words")],
      link0
        ? [go.core(link0.x, link0.y), ` ${link0.link} a token, ${percent(link0.share_of_interval)} of the interval`]
        : "",
    ),
    card(
      "Colours",
      [count(route.colours.max), h("small", {}, ` of ${count(route.colours.limit)}`)],
      [
        route.colours.at.length ? ["most at ", go.core(...route.colours.at)] : "",
        `; ${short(route.channels)} channels`,
      ],
    ),
    place.box &&
      card(
        "Wires",
        [place.mean_wire_hops.toFixed(1), h("small", {}, " hops")],
        place.longest_wires[0]
          ? `on average; longest: ${count(place.longest_wires[0].hops)}, ${safe(place.longest_wires[0].from)} to ${safe(place.longest_wires[0].to)}`
          : "",
      ),
  );
}

// The kernel or port that sets the pace.
function slowest(data) {
  const paced = [...data.kernels, ...data.ports].filter((one) => one.interval !== null);
  return paced.reduce((most, one) => (!most || one.interval > most.interval ? one : most), null);
}

function provenance(data) {
  const facts = Object.entries({ file: data.file, target: data.target.name, ...data.provenance });
  const notes = Object.entries(data.notes).flatMap(([section, found]) =>
    Object.entries(found).map(([name, value]) => [`${section}: ${safe(name)}`, words(value)]),
  );
  return h(
    "details",
    { class: "section", id: "facts" },
    h("summary", {}, h("h2", {}, "How it was made")),
    h(
      "div",
      { class: "columns" },
      rows(
        ["input or option", "value"],
        facts.map(([name, value]) => [safe(name), safe(value)]),
      ),
      notes.length > 0 && rows(["noted by the compiler", "value"], notes),
    ),
  );
}

function words(value) {
  if (Array.isArray(value)) return value.map(words).join(" ");
  if (value && typeof value === "object")
    return Object.entries(value)
      .map(([key, item]) => `${safe(key)}: ${words(item)}`)
      .join(", ");
  return typeof value === "number" ? (Number.isInteger(value) ? count(value) : value.toPrecision(4)) : safe(value);
}
