// What became of kernels and numbers between two images, in words, colours and a table.

const STATUSES = ["unchanged", "moved", "turned", "reshaped", "other costs", "removed", "added"];
const STATUS_COLOURS = ["#9a9a9a", "#56b4e9", "#0072b2", "#e69f00", "#cc79a7", "#d55e00", "#009e73"];

function status(line) {
  if (line.old === null) return "added";
  if (line.new === null) return "removed";
  const words = ["reshaped", "moved", "turned"].find((change) => line.changes.includes(change));
  return words ?? (Object.keys(line.costs).length ? "other costs" : "unchanged");
}

function changeText(line) {
  const words = [...line.changes.map(safe), ...(Object.keys(line.costs).length ? ["other costs"] : [])];
  return words.length ? words.join(", ") : "unchanged";
}

function boxText(old, now, text) {
  const both = [old, now].map((kernel) => (kernel ? text(kernel.box) : UNKNOWN));
  return both[0] === both[1] ? both[0] : both.join(" → ");
}

function shownNumber(value, unit) {
  if (value === null) return UNKNOWN;
  if (unit === "share") return percent(value);
  if (Math.abs(value) >= 1e7) return short(value);
  return Number.isInteger(value) ? count(value) : value.toLocaleString("en-US", { maximumFractionDigits: 1 });
}

// The difference as a number, and in a word where more or less is what one wants.
function delta({ old, new: now, unit, better }) {
  if (old === null || now === null || old === now) return { text: "", verdict: "" };
  const change = now - old,
    sign = change > 0 ? "+" : "−";
  const share = unit === "share" || !old ? "" : ` (${sign}${Math.abs((100 * change) / old).toFixed(1)} %)`;
  const amount = unit === "share" ? `${Math.abs(100 * change).toFixed(2)} points` : shownNumber(Math.abs(change), unit);
  return {
    text: `${sign}${amount}${share}`,
    verdict: better ? ((better === "less") === change < 0 ? "better" : "worse") : "",
  };
}

// lines: `difference.kernels`; choose(line): called with the one a reader picks.
function changesTable(lines, wafers, choose) {
  const kernel = (line, side) => wafers[side].kernels[side ? line.new : line.old] ?? null;
  const both = (line, of) => (line.old === null || line.new === null ? null : of(kernel(line, 0), kernel(line, 1)));
  const either = (line) => kernel(line, 1) ?? kernel(line, 0);
  const pair = (title, about, of) => ({
    title,
    about,
    value: (line) => both(line, (old, now) => of(now) - of(old)),
    cell: (line) =>
      [0, 1]
        .map((side) => (kernel(line, side) ? short(of(kernel(line, side))) : UNKNOWN))
        .filter((text, i, both) => i === 0 || text !== both[0])
        .join(" → "),
  });
  return new SortedTable(
    "Kernels of both",
    [
      {
        title: "kernel",
        about: "name",
        value: (line) => either(line).name,
        cell: (line) => link(either(line).name, () => choose(line)),
      },
      { title: "kind", about: "kind", value: (line) => either(line).kind },
      { title: "change", about: "what became of it", value: changeText },
      {
        title: "at",
        about: "north-west core: sorts by how far it moved",
        value: (line) => both(line, ({ box: a }, { box: b }) => Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1])),
        cell: (line) => boxText(kernel(line, 0), kernel(line, 1), (box) => `${box[0]},${box[1]}`),
      },
      {
        title: "size",
        about: "width × height: sorts by growth",
        value: (line) => both(line, (old, now) => now.cores - old.cores),
        cell: (line) => boxText(kernel(line, 0), kernel(line, 1), (box) => `${box[2]} × ${box[3]}`),
      },
      pair("interval", "predicted cycles between two tokens: sorts by change", (one) => one.interval ?? 0),
      pair("latency", "predicted cycles of a lone token: sorts by change", (one) => one.latency ?? 0),
      pair("memory", "bytes of the fullest core: sorts by change", (one) => one.memory_max),
      pair("link", "words on its hottest link: sorts by change", (one) => one.link),
    ],
    lines,
    choose,
  );
}
