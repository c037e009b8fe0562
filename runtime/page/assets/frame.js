// What both kinds of page have around their contents: heading, keys, themes.

const KEYS = [
  ["/", "search"],
  ["?", "this help"],
  ["Escape", "close, or select nothing"],
  ["1 to 9", "what the map shows"],
  ["l", "logarithmic scale"],
  ["+ and −", "zoom"],
  ["0", "the whole program"],
  ["z", "zoom to what is selected"],
  ["arrows", "move the map, when it has the focus"],
  ["Shift + arrows", "select the next core"],
  ["Enter", "select what is in the middle of the map"],
  ["t", "light or dark"],
];

function heading(title, notes, ...tools) {
  return h(
    "header",
    {},
    h(
      "div",
      { class: "title" },
      h("h1", {}, safe(title)),
      notes.map((note) => h("span", { class: "about" }, safe(note))),
    ),
    tools,
    h(
      "button",
      {
        type: "button",
        class: "theme",
        title: "Light or dark (key t)",
        "aria-label": "Light or dark",
        onclick: switchTheme,
      },
      "◐",
    ),
    h(
      "button",
      {
        type: "button",
        class: "help",
        title: "Keys (?)",
        "aria-label": "Help: keys",
        onclick: () => document.getElementById("help").showModal(),
      },
      "?",
    ),
  );
}

function help() {
  const dialog = h(
    "dialog",
    { id: "help", "aria-label": "Keys" },
    h("h2", {}, "Keys"),
    facts(KEYS.map(([key, does]) => [h("kbd", {}, key), does])),
    h(
      "p",
      {},
      "Mouse: drag to move, wheel to zoom, click to select a kernel, again for a core, double click to zoom in.",
    ),
    h("form", { method: "dialog" }, h("button", { autofocus: true, onclick: () => dialog.close() }, "Close")),
  );
  return dialog;
}

function mapTools(maps) {
  const each = (action) => () => action(maps[0]); // maps side by side follow one another
  const tool = (text, title, action) =>
    h("button", { type: "button", title, "aria-label": title, onclick: each(action) }, text);
  return h(
    "div",
    { class: "zooms", role: "toolbar", "aria-label": "Zoom" },
    tool("+", "Zoom in", (map) => map.zoom(1.5)),
    tool("−", "Zoom out", (map) => map.zoom(1 / 1.5)),
    tool("⤢", "The whole program (key 0)", (map) => map.fit()),
  );
}

function mapKeys() {
  return h(
    "p",
    { class: "hidden", id: "map-keys" },
    "Arrows move the map, plus and minus zoom, Enter selects what is in the middle, Shift and arrows select the next core.",
  );
}

// Keys of the whole page, where no text is being typed.
function keys(actions) {
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select") || document.querySelector("dialog[open]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const all = { ...actions, "?": () => document.getElementById("help").showModal(), t: switchTheme };
    if (!Object.hasOwn(all, event.key)) return;
    event.preventDefault();
    all[event.key]();
  });
}

function switchTheme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  dispatchEvent(new Event("theme"));
}

function onTheme(draw) {
  addEventListener("theme", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
