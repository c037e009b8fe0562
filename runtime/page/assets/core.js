// What is known of a core and its router.

const PORT_NAMES = ["N", "E", "S", "W", "core"];
const SHOWN_ENDS = 4;

function ports(mask) {
  return PORT_NAMES.filter((_, i) => (mask >> i) & 1).join(" ") || "–";
}

function coreDetail(wafer, place, core, channels, go) {
  return [
    h("h2", {}, `core (${place.x},${place.y})`),
    core
      ? runningCore(wafer, core, channels, go)
      : h(
          "p",
          { class: "lead" },
          wafer.inside(place.x, place.y) ? "No kernel lies here." : "Programs may not use this core.",
        ),
    routerTables(wafer, place),
    core &&
      core.program >= 0 &&
      section(
        "Program",
        programText(
          wafer,
          core.program,
          `${safe(wafer.programs[core.program].name)} (all its cores run the same)`,
          true,
        ),
      ),
  ];
}

function runningCore(wafer, core, channels, go) {
  const kernel = wafer.kernels[core.kernel];
  const lead = h(
    "p",
    { class: "lead" },
    `row ${core.row}, column ${core.column} of `,
    go.kernel(core.kernel),
    ` (${kindText(kernel)})`,
  );
  if (core.program < 0) return [lead, h("p", {}, "It is idle: it has no program."), nodeList(wafer, kernel, go)];
  return [
    lead,
    wafer.data.run && section("In the cycle run", spentBar(wafer.data.run.reasons, wafer.spentAt(core))),
    coreMemory(wafer, core),
    channelTable(wafer, core, channels, go),
    nodeList(wafer, kernel, go),
  ];
}

function coreMemory(wafer, core) {
  const program = wafer.programs[core.program],
    limit = wafer.data.target.memory_bytes;
  const regions = program.memory.filter(([, bytes]) => bytes > 0);
  return section(
    `Memory: ${count(program.bytes)} of ${count(limit)} bytes`,
    bar(
      regions.map(([, bytes, owner, name]) => ({ name: `${owner} ${name}`, value: bytes, colour: ownerColour(owner) })),
      limit,
      "memory from low to high addresses",
    ),
    rows(
      ["address", "bytes", "owner", "name"],
      regions.map(([address, bytes, owner, name]) => [address, bytes, ownerName(owner), safe(name).slice(0, 80)]),
    ),
  );
}

function channelTable(wafer, core, channels, go) {
  const program = wafer.programs[core.program];
  const body = channels.map((channel) => {
    const [, name, words] = program[channel.direction].find(([queue]) => queue === channel.queue) ?? [0, "", null];
    return [
      h("span", { class: `way ${channel.direction}` }, channel.direction),
      safe(name) || `queue ${channel.queue}`,
      channel.colour,
      words ?? UNKNOWN,
      endList(wafer, channel, go),
    ];
  });
  return section(
    "Its wires, words a token",
    body.length
      ? rows(["", "queue", "colour", "words", "other end"], body)
      : h("p", {}, "It sends and receives nothing."),
  );
}

function endList(wafer, channel, go) {
  if (!channel.ends.length) return "nowhere";
  const farthest = Math.max(...channel.ends.map((end) => end.hops));
  const shown = channel.ends
    .slice(0, SHOWN_ENDS)
    .map((end, i) => [
      i ? ", " : "",
      end.host ? "host" : go.core(end.x, end.y),
      end.host ? "" : ` ${kernelThere(wafer, end)}`,
    ]);
  const rest = channel.ends.length - SHOWN_ENDS;
  return h("span", {}, shown, rest > 0 && ` and ${count(rest)} more`, h("small", {}, `, ${plural(farthest, "hop")}`));
}

function kernelThere(wafer, { x, y }) {
  const kernel = wafer.kernelAt(x, y);
  return kernel < 0 ? "" : safe(wafer.kernels[kernel].name);
}

function routerTables(wafer, { x, y }) {
  if (!wafer.inside(x, y)) return null;
  const entries = wafer.network.entries(x, y);
  const loads = wafer.loadAt(x, y);
  return [
    section("Words a token on its links", facts(LINK_NAMES.map((name, i) => [name, count(loads[i])]))),
    entries.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, `Router: ${plural(entries.length, "colour")} in use`),
        rows(
          ["colour", "from", "to"],
          entries.map(({ colour, inputs, outputs }) => [colour, ports(inputs), ports(outputs)]),
        ),
      ),
  ];
}
