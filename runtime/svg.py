"""A picture of a placed and routed image as one SVG file: the same image gives the same bytes.

Lengths inside the drawing are cores, scaled to pixels once; what is meant for the eye (lines, letters) is sized in
pixels. Names come from models and are escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import numpy as np

from runtime.bundles import Bundle, Point, bundles
from runtime.image import Block, Image
from runtime.layers import layers
from runtime.tables import Array
from runtime.text import safe
from runtime.wires import HOST, Tables, trace

LONG_SIDE = 1500  # pixels of the drawing
LEGEND = 250
MARGIN = 14
MAX_SCALE = 28.0  # pixels of a core
FONTS = (13, 12, 11, 10, 9, 8, 7)  # pixels, the largest that fits
OUTSIDE_FONT = 8
LETTER = 0.6  # width of a letter as a share of the font's size
MOST_LAYERS = 12  # in the legend, evenly spread
HEAT_CELLS = 220  # along the long side
HEAT = ("#fde0c5", "#facba6", "#f8b58b", "#f59e72", "#f2855d", "#ef6a4c", "#eb4a40")

# One hue for each kind, in the order of first appearance; kernels of odd layers are drawn paler.
HUES = (211, 28, 130, 275, 48, 176, 350, 90, 240, 310)
HOST_COLOUR = "#444444"


@dataclass
class _Drawing:
    """The region shown, in cores, and what has been drawn."""

    x: int
    y: int
    width: int
    height: int
    scale: float
    body: list[str] = field(default_factory=list)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)  # boxes no outside label may meet

    def px(self, pixels: float) -> str:
        """A length in pixels, in cores."""
        return _number(pixels / self.scale)


def picture(image: Image, *, colour: str = "kind", heat: bool = False) -> str:
    """The SVG text. `colour` is "kind" or "layer"; `heat` shades the routers by the busiest of their links."""
    tables = Tables(image)
    wires = trace(image, tables)
    nets = bundles(image, tables, wires)
    drawing = _frame(image, nets)
    fills = _fills(image, colour)
    drawing.body.append(_wafer(image, drawing))
    peak = int(wires.load[:4].max(initial=0))
    if heat and peak:
        drawing.body.extend(_heat(wires.load[:4].max(axis=0), wires.origin, peak, drawing))
    drawing.body.extend(_kernels(image, fills, drawing, heat))
    drawing.body.extend(_bundles(image, nets, fills, drawing))
    drawing.body.extend(_dead(image, drawing))
    drawing.body.extend(_ports(image, drawing))
    drawing.body.extend(_labels(image, drawing))
    legend = _legend(image, colour, heat, peak, drawing)
    width = round(drawing.width * drawing.scale) + LEGEND + 3 * MARGIN
    height = max(round(drawing.height * drawing.scale), 560) + 2 * MARGIN
    origin = f"translate({MARGIN} {MARGIN}) scale({_number(drawing.scale)}) translate({-drawing.x} {-drawing.y})"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="DejaVu Sans, Verdana, Arial, sans-serif">',
            f"<title>{_text(_title(image))}</title>",
            '<rect width="100%" height="100%" fill="white"/>',
            f'<g transform="{origin}">',
            *drawing.body,
            "</g>",
            f'<g transform="translate({width - LEGEND - MARGIN} {MARGIN})" font-size="12">',
            *legend,
            "</g>",
            "</svg>",
            "",
        ]
    )


def _text(name: object) -> str:
    return escape(safe(name))


def _number(value: float) -> str:
    """Three decimals at most: enough for a thousandth of a core."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _title(image: Image) -> str:
    provenance = image.manifest.get("provenance")
    model = provenance.get("model") if isinstance(provenance, dict) else None
    return f"{model or 'image'} on {image.target.name}"


def _frame(image: Image, nets: Sequence[Bundle]) -> _Drawing:
    """The smallest region with all kernels, ways and host lanes, and two cores around it."""
    boxes = [(block.x, block.y, *block.size) for block in image.blocks]
    boxes += [(x, y, 1, 1) for net in nets for way in net.ways for x, y in way]
    boxes += [(lane.x, lane.y, 1, 1) for port in image.ports for lane in port.lanes]
    boxes = boxes or [image.target.usable]
    west, north = min(box[0] for box in boxes) - 2, min(box[1] for box in boxes) - 2
    east, south = max(box[0] + box[2] for box in boxes) + 2, max(box[1] + box[3] for box in boxes) + 2
    scale = min(MAX_SCALE, LONG_SIDE / max(east - west, south - north))
    drawing = _Drawing(west, north, east - west, south - north, scale)
    drawing.taken = [(float(b.x), float(b.y), float(b.x + b.size[0]), float(b.y + b.size[1])) for b in image.blocks]
    return drawing


# Colours


def _fills(image: Image, colour: str) -> list[str]:
    """By block."""
    of_layer = [None if layer is None else layer.number for layer in layers(image)]
    count = max((layer for layer in of_layer if layer is not None), default=0) + 1
    if colour == "layer":
        return ["#d0d0d0" if n is None else _hsl(int(300 * n / count), 60, 66 + 10 * (n % 2)) for n in of_layer]
    kinds = list(dict.fromkeys(block.kind for block in image.blocks))
    return [
        _hsl(HUES[kinds.index(block.kind) % len(HUES)], 62, 80 if layer is not None and layer % 2 else 68)
        for block, layer in zip(image.blocks, of_layer, strict=True)
    ]


def _hsl(hue: int, saturation: int, lightness: int) -> str:
    """A colour as #rrggbb: not every viewer knows hsl()."""
    s, l = saturation / 100, lightness / 100
    a = s * min(l, 1 - l)
    channels = []
    for n in (0, 8, 4):
        k = (n + hue / 30) % 12
        channels.append(round(255 * (l - a * max(-1.0, min(k - 3, 9 - k, 1.0)))))
    return "#{:02x}{:02x}{:02x}".format(*channels)


def _darker(fill: str) -> str:
    red, green, blue = (int(fill[i : i + 2], 16) for i in (1, 3, 5))
    return f"#{red * 11 // 20:02x}{green * 11 // 20:02x}{blue * 11 // 20:02x}"


# What is drawn


def _wafer(image: Image, drawing: _Drawing) -> str:
    """The usable rectangle, as far as it is in view."""
    x, y, columns, rows = image.target.usable
    west, north = max(x, drawing.x), max(y, drawing.y)
    east = min(x + columns, drawing.x + drawing.width)
    south = min(y + rows, drawing.y + drawing.height)
    return (
        f'<rect x="{west}" y="{north}" width="{east - west}" height="{south - north}" fill="#f7f7f5" '
        f'stroke="#c8c8c4" stroke-width="{drawing.px(1)}"/>'
    )


def _heat(load: Array, origin: Point, peak: int, drawing: _Drawing) -> Iterator[str]:
    """Squares of routers by their busiest link, as one path for each shade."""
    step = max(1, -(-max(drawing.width, drawing.height) // HEAT_CELLS))
    rows, columns = (-(-size // step) * step for size in load.shape)
    padded = np.zeros((rows, columns), load.dtype)
    padded[: load.shape[0], : load.shape[1]] = load
    cells = padded.reshape(rows // step, step, columns // step, step).max(axis=(1, 3))
    level = np.where(cells > 0, np.minimum(len(HEAT) - 1, cells * len(HEAT) // peak), -1)
    for shade, fill in enumerate(HEAT):
        runs = []
        for row in np.flatnonzero((level == shade).any(axis=1)).tolist():
            edges = np.flatnonzero(np.diff(np.pad((level[row] == shade).astype(np.int8), 1)))
            for start, end in edges.reshape(-1, 2).tolist():
                x, y, width = origin[0] + start * step, origin[1] + row * step, (end - start) * step
                runs.append(f"M{x} {y}h{width}v{step}h{-width}z")
        if runs:
            yield f'<path fill="{fill}" d="{"".join(runs)}"/>'


def _kernels(image: Image, fills: Sequence[str], drawing: _Drawing, heat: bool) -> Iterator[str]:
    opacity = ' fill-opacity="0.35"' if heat else ""
    yield f'<g stroke-width="{drawing.px(0.8)}"{opacity}>'
    for block, fill in zip(image.blocks, fills, strict=True):
        width, height = block.size
        yield (
            f'<rect x="{block.x}" y="{block.y}" width="{width}" height="{height}" fill="{fill}" '
            f'stroke="{_darker(fill)}"><title>{_text(_tooltip(block))}</title></rect>'
        )
    yield "</g>"


def _tooltip(block: Block) -> str:
    width, height = block.size
    nodes = ", ".join(block.onnx[:6]) + (", ..." if len(block.onnx) > 6 else "")
    return f"{block.name}: {block.kind}, {width} x {height} cores at ({block.x},{block.y}); {nodes}"


def _bundles(image: Image, nets: Sequence[Bundle], fills: Sequence[str], drawing: _Drawing) -> Iterator[str]:
    """A line for each bundle, as wide as its lanes within bounds, with a white rim so that crossings can be read."""
    yield '<g fill="none" stroke-linejoin="round">'
    for net in nets:
        pixels = min(5.0, max(1.1, net.lanes * drawing.scale / 6, net.lanes**0.5 / 2))
        colour = HOST_COLOUR if net.source == HOST else _darker(fills[net.source])
        line = "".join(_line(way) for way in net.ways)
        names = ", ".join(_name(image, block) for block in net.sinks)
        title = f"{_name(image, net.source)} to {names}: {net.lanes} lanes, {net.words} words per token"
        yield f'<path d="{line}" stroke="white" stroke-opacity="0.7" stroke-width="{drawing.px(pixels + 1.6)}"/>'
        yield (
            f'<path d="{line}" stroke="{colour}" stroke-opacity="0.8" stroke-width="{drawing.px(pixels)}">'
            f"<title>{_text(title)}</title></path>"
        )
        heads = "".join(_head(way, max(6.0, 2.2 * pixels) / drawing.scale) for way in net.ways)
        if heads:
            yield f'<path d="{heads}" fill="{colour}"/>'
    yield "</g>"


def _name(image: Image, block: int) -> str:
    return "host" if block == HOST else image.blocks[block].name


def _line(way: Sequence[Point]) -> str:
    """Through the middle of each router."""
    first, *others = ((2 * x + 1, 2 * y + 1) for x, y in way)
    points = [f"M{first[0] / 2:g} {first[1] / 2:g}"]
    last = first
    for point in others:
        points.append(f"V{point[1] / 2:g}" if point[0] == last[0] else f"H{point[0] / 2:g}")
        last = point
    return "".join(points)


def _head(way: Sequence[Point], size: float) -> str:
    """A triangle whose tip is at the end of the way."""
    if len(way) < 2:
        return ""
    (ax, ay), (bx, by) = way[-2], way[-1]
    dx, dy = (bx > ax) - (bx < ax), (by > ay) - (by < ay)
    x, y = bx + 0.5 + dx / 2, by + 0.5 + dy / 2
    back_x, back_y, side_x, side_y = x - dx * size, y - dy * size, -dy * size / 2, dx * size / 2
    corners = [(x, y), (back_x + side_x, back_y + side_y), (back_x - side_x, back_y - side_y)]
    return "M" + "L".join(f"{_number(a)} {_number(b)}" for a, b in corners) + "z"


def _dead(image: Image, drawing: _Drawing) -> Iterator[str]:
    """Dead cores in view; a single one large enough to see."""
    least = 5 / drawing.scale
    marks = []
    for x, y, columns, rows in image.target.defects:
        in_view = x < drawing.x + drawing.width and y < drawing.y + drawing.height
        if in_view and x + columns > drawing.x and y + rows > drawing.y:
            width, height = max(least, columns), max(least, rows)
            west, north = x + columns / 2 - width / 2, y + rows / 2 - height / 2
            marks.append(f"M{_number(west)} {_number(north)}h{_number(width)}v{_number(height)}h{_number(-width)}z")
    if marks:
        rim = drawing.px(0.8)
        path = f'<path fill="#d4002a" stroke="white" stroke-width="{rim}" d="{"".join(marks)}">'
        yield f"{path}<title>dead cores</title></path>"


def _ports(image: Image, drawing: _Drawing) -> Iterator[str]:
    """A bar along the lanes of every host port."""
    for port in image.ports:
        if not port.lanes:
            continue
        x, y = min(lane.x for lane in port.lanes), min(lane.y for lane in port.lanes)
        east, south = max(lane.x for lane in port.lanes) + 1, max(lane.y for lane in port.lanes) + 1
        title = f"host port {port.name}, {port.direction}, {len(port.lanes)} lanes"
        yield (
            f'<rect x="{x}" y="{y}" width="{east - x}" height="{south - y}" fill="none" stroke="{HOST_COLOUR}" '
            f'stroke-width="{drawing.px(2)}"><title>{_text(title)}</title></rect>'
        )
        size = OUTSIDE_FONT / drawing.scale
        left, middle = x + 1.5 * size, (y + south) / 2 + 0.35 * size
        drawing.taken.append((left, middle - size, left + LETTER * size * len(port.name), middle + 0.3 * size))
        yield _label(safe(port.name), left, middle, OUTSIDE_FONT, drawing, anchor="start")


# Labels


def _labels(image: Image, drawing: _Drawing) -> Iterator[str]:
    """Names inside the kernels where they fit, else beside them where nothing else stands."""
    small = []
    for block, layer in zip(image.blocks, layers(image), strict=True):
        name = safe(block.name)
        wordings = [name] if layer is None else [f"L{layer.text} {name}", name]
        width, height = block.size
        middle = block.x + width / 2, block.y + height / 2
        for words, font, turned in _sizes(wordings, width * drawing.scale, height * drawing.scale):
            yield _label(words, *middle, font, drawing, turned=turned)
            break
        else:
            small.append((block, wordings[-1]))
    for block, words in small:
        yield from _outside(block, words, drawing)


def _sizes(wordings: Sequence[str], width: float, height: float) -> Iterator[tuple[str, int, bool]]:
    """Every wording and font that fits into so many pixels, the fullest wording and largest font first."""
    for words in wordings:
        for font in FONTS:
            length = LETTER * font * len(words) + 4
            if length <= width and 1.2 * font <= height:
                yield words, font, False
            elif length <= height and 1.2 * font <= width:
                yield words, font, True


def _label(
    words: str, x: float, y: float, font: int, drawing: _Drawing, *, turned: bool = False, anchor: str = "middle"
) -> str:
    """Letters with a white rim. (x, y) is the middle of the text, with `anchor="start"` the start of its base line."""
    size = font / drawing.scale
    down = 0.35 * size if anchor == "middle" else 0.0
    rotate = f' transform="rotate(-90 {_number(x)} {_number(y)})"' if turned else ""
    return (
        f'<text x="{_number(x)}" y="{_number(y + down)}" font-size="{_number(size)}" text-anchor="{anchor}"{rotate} '
        f'fill="#111111" stroke="white" stroke-opacity="0.85" stroke-width="{drawing.px(2.2)}" '
        f'paint-order="stroke">{escape(words)}</text>'
    )


def _outside(block: Block, words: str, drawing: _Drawing) -> Iterator[str]:
    """Above, below, left or right of a kernel that is too small for its name; nowhere if something is in the way."""
    size = OUTSIDE_FONT / drawing.scale
    length, (width, height) = LETTER * size * len(words), block.size
    x, y = block.x + width / 2, block.y + height / 2
    gap = 0.65 * size
    spots = [
        (x, block.y - gap, False),
        (x, block.y + height + gap, False),
        (block.x - gap, y, True),
        (block.x + width + gap, y, True),
    ]
    if height > width:
        spots = spots[2:] + spots[:2]
    for cx, cy, turned in spots:
        across, down = (size, length) if turned else (length, size)
        box = (cx - across / 2, cy - down / 2, cx + across / 2, cy + down / 2)
        if _free(box, drawing):
            drawing.taken.append(box)
            yield _label(words, cx, cy, OUTSIDE_FONT, drawing, turned=turned)
            return


def _free(box: tuple[float, float, float, float], drawing: _Drawing) -> bool:
    west, north, east, south = box
    if west < drawing.x or north < drawing.y or east > drawing.x + drawing.width or south > drawing.y + drawing.height:
        return False
    return not any(west < r and l < east and north < b and t < south for l, t, r, b in drawing.taken)


# Legend


def _legend(image: Image, colour: str, heat: bool, peak: int, drawing: _Drawing) -> list[str]:
    title = _shortened(_title(image))
    size = 15 if len(title) <= 24 else 12
    lines = [f'<text y="14" font-size="{size}" font-weight="bold">{_text(title)}</text>']
    used = int((image.cores["program"] >= 0).sum())
    share = 100 * used / max(1, image.target.cores)
    facts = [
        f"{used:,} of {image.target.cores:,} cores ({share:.1f} %)",
        f"shown: {drawing.width} x {drawing.height} cores",
    ]
    facts += [f"{image.target.dead_cores:,} dead cores"] if image.target.defects else []
    y = 36
    for fact in facts:
        lines.append(f'<text y="{y}">{_text(fact)}</text>')
        y += 17
    y += 8
    for fill, words in _swatches(image, colour):
        lines.append(f'<rect y="{y - 10}" width="18" height="12" fill="{fill}" stroke="{_darker(fill)}"/>')
        lines.append(f'<text x="26" y="{y}">{_text(words)}</text>')
        y += 18
    if colour == "kind" and any(layer is not None for layer in layers(image)):
        lines.append(f'<text y="{y}" fill="#555555">paler: odd layers; L3: layer 3</text>')
        y += 18
    lines.append(
        f'<path d="M0 {y - 4}h14" stroke="#555555" stroke-width="3"/><path d="M20 {y - 4}l-7 -4v8z" fill="#555555"/>'
    )
    lines.append(f'<text x="26" y="{y}">bundle: way of its middle lane</text>')
    y += 18
    if image.target.defects:
        lines.append(f'<rect x="6" y="{y - 9}" width="6" height="6" fill="#d4002a"/>')
        lines.append(f'<text x="26" y="{y}">dead core</text>')
        y += 18
    if heat:
        step = 160 / len(HEAT)
        for i, fill in enumerate(HEAT):
            lines.append(
                f'<rect x="{_number(i * step)}" y="{y - 6}" width="{_number(step)}" height="12" fill="{fill}"/>'
            )
        lines.append(f'<text y="{y + 20}">busiest link: 0 to {peak:,} words per token</text>')
        y += 38
    return lines + list(_overview(image, drawing, y + 6))


def _shortened(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:29]}…"


def _swatches(image: Image, colour: str) -> list[tuple[str, str]]:
    if colour == "layer":
        by_layer = dict(zip(layers(image), _fills(image, colour), strict=True))
        known = [layer for layer in by_layer if layer is not None]
        most = min(len(known), MOST_LAYERS)
        shown = [i * (len(known) - 1) // max(1, most - 1) for i in range(most)]
        found = [(by_layer[known[n]], f"layer {known[n].text}") for n in shown]
        return [*found, (by_layer[None], "outside the layers")] if None in by_layer else found
    counts = Counter(block.kind for block in image.blocks)
    return [(_hsl(HUES[i % len(HUES)], 62, 68), f"{kind} ({counts[kind]})") for i, kind in enumerate(counts)]


def _overview(image: Image, drawing: _Drawing, y: int) -> Iterator[str]:
    """The whole wafer, small, with the region shown."""
    columns, rows = image.target.fabric
    scale = min(150 / columns, 180 / rows)
    x0, y0, width, height = image.target.usable
    yield f'<text y="{y + 8}" fill="#555555">on the wafer</text>'
    yield f'<g transform="translate(0 {y + 16}) scale({_number(scale)})" stroke-width="{_number(1 / scale)}">'
    yield f'<rect width="{columns}" height="{rows}" fill="#eeeeea" stroke="#999999"/>'
    yield f'<rect x="{x0}" y="{y0}" width="{width}" height="{height}" fill="white" stroke="#c8c8c4"/>'
    for block in image.blocks:
        yield f'<rect x="{block.x}" y="{block.y}" width="{block.size[0]}" height="{block.size[1]}" fill="#7d9cc0"/>'
    yield (
        f'<rect x="{drawing.x}" y="{drawing.y}" width="{drawing.width}" height="{drawing.height}" fill="none" '
        f'stroke="#d4002a"/></g>'
    )
