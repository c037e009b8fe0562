// Elements from data, and numbers in words. Whatever comes from a file goes into the page as text, never as markup.

function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, item] of Object.entries(value)) element.style.setProperty(key, item);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

// A name from a model: characters that one cannot see, or that turn the writing direction, are spelled out.
function safe(text) {
  return String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

const UNKNOWN = "–";

function count(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return Math.round(value).toLocaleString("en-US");
}

function percent(share) {
  if (share === null || share === undefined || !isFinite(share)) return UNKNOWN;
  const digits = share !== 0 && Math.abs(share) < 0.001 ? 3 : share !== 0 && Math.abs(share) < 0.01 ? 2 : 1;
  return `${(100 * share).toFixed(digits)} %`;
}

// Three digits with a unit: 65.1 k, 282 M.
function short(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const [size, unit] = [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ].find(([limit]) => Math.abs(value) >= 10 * limit || (limit > 1e3 && Math.abs(value) >= limit)) ?? [1, ""];
  if (!unit) return Math.abs(value) >= 100 || Number.isInteger(value) ? count(value) : value.toPrecision(3);
  return `${Number((value / size).toPrecision(3))} ${unit}`;
}

function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

// A button that looks like a link: it goes somewhere within the page.
function link(text, action, title) {
  return h("button", { class: "link", type: "button", title, onclick: action }, safe(text));
}

// A table; columns whose cells are numbers stand to the right.
function rows(head, body, caption) {
  const right = head.map((_, i) => body.length > 0 && body.every((line) => typeof line[i] === "number"));
  const cells = (tag, line) =>
    line.map((cell, i) =>
      h(
        tag,
        { class: right[i] ? "number" : null, scope: tag === "th" ? "col" : null },
        typeof cell === "number" ? count(cell) : cell,
      ),
    );
  return h(
    "table",
    { class: "facts" },
    caption && h("caption", {}, caption),
    h("thead", {}, h("tr", {}, cells("th", head))),
    h(
      "tbody",
      {},
      body.map((line) => h("tr", {}, cells("td", line))),
    ),
  );
}
