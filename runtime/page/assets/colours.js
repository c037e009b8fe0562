// Palettes that people with any colour vision can tell apart: Okabe and Ito's for kinds, viridis for amounts.

const KINDS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8c8c8c"];

// Of the kind (or phase) with a number; after the palette's end darker once more, so that none looks like the first ones.
function kindColour(i) {
  const colour = rgb(KINDS[i % KINDS.length]);
  return i < KINDS.length ? colour : mixed(colour, [0, 0, 0], 0.45);
}

const VIRIDIS = [
  [68, 1, 84],
  [72, 26, 108],
  [71, 47, 125],
  [65, 68, 135],
  [57, 86, 140],
  [49, 104, 142],
  [42, 120, 142],
  [35, 136, 142],
  [31, 152, 139],
  [34, 168, 132],
  [53, 183, 121],
  [84, 197, 104],
  [122, 209, 81],
  [165, 219, 54],
  [210, 226, 27],
  [253, 231, 37],
];

const STEPS = 256;

// STEPS colours from the least to the most, as [red, green, blue].
const SCALE = Array.from({ length: STEPS }, (_, i) => {
  const at = (i / (STEPS - 1)) * (VIRIDIS.length - 1);
  const low = Math.min(VIRIDIS.length - 2, Math.floor(at));
  return VIRIDIS[low].map((part, j) => Math.round(part + (VIRIDIS[low + 1][j] - part) * (at - low)));
});

function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}

function rgb(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

// A pixel of ImageData seen as a Uint32Array (little endian, as every browser's processor is).
function pixel([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function mixed(colour, other, share) {
  return colour.map((part, i) => Math.round(part + (other[i] - part) * share));
}

// Colours of the page's theme, for what is drawn on a canvas.
function themeColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ground", "paper", "ink", "faint", "line", "wafer", "accent", "warn", "in", "out"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
