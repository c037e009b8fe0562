// What a WaferMap looks like.

const LETTERS = "system-ui, sans-serif";
const GRID_FROM = 7; // pixels of a core from which single cores are told apart
const LANES_FROM = 3; // ... and the lanes of a kernel one by one
const LINKS_FROM = 22; // ... and links are drawn

function drawMap(map) {
  const { wafer, view, width, height, ratio } = map;
  const context = map.canvas.getContext("2d");
  const theme = themeColours();
  const frame = {
    context,
    theme,
    map,
    wafer,
    scale: view.scale,
    x: (x) => width / 2 + (x - view.x) * view.scale,
    y: (y) => height / 2 + (y - view.y) * view.scale,
    left: view.x - width / 2 / view.scale,
    right: view.x + width / 2 / view.scale,
    top: view.y - height / 2 / view.scale,
    bottom: view.y + height / 2 / view.scale,
  };
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  drawWafer(frame);
  if (view.scale >= GRID_FROM) drawGrid(frame);
  if (showsLinks(map)) drawLinks(frame);
  drawKernels(frame);
  drawDefects(frame);
  drawPorts(frame);
  // From afar lanes side by side would be one black area: the bundles' arrows stand for them.
  if (map.marks.lanes && view.scale >= LANES_FROM) drawPath(frame, map.marks.lanes, theme.ink, 0.8, 0.5);
  map.marks.streams.forEach((stream) => drawStream(frame, stream));
  map.marks.channels.forEach((channel) => drawChannel(frame, channel));
  drawLabels(frame);
  if (map.marks.core) drawCore(frame, map.marks.core);
}

// Links one by one instead of the busiest of each router.
function showsLinks(map) {
  return map.shown.view.id === "load" && map.view.scale >= LINKS_FROM;
}

function box(frame, [x, y, width, height]) {
  return [frame.x(x), frame.y(y), width * frame.scale, height * frame.scale];
}

function visible(frame, [x, y, width, height]) {
  return x < frame.right && y < frame.bottom && x + width > frame.left && y + height > frame.top;
}

function drawWafer(frame) {
  const { context, theme, map, wafer } = frame;
  const [columns, rows] = wafer.data.target.fabric;
  const usable = [wafer.x0, wafer.y0, wafer.columns, wafer.rows];
  context.fillStyle = theme.line;
  context.fillRect(...box(frame, [0, 0, columns, rows]));
  context.fillStyle = theme.wafer;
  context.fillRect(...box(frame, usable));
  context.imageSmoothingEnabled = frame.scale < 1;
  context.globalAlpha = showsLinks(map) ? 0.2 : 1;
  context.drawImage(map.bitmap, ...box(frame, usable));
  context.globalAlpha = 1;
  if (!map.marks.kernels.length) return;
  context.globalAlpha = 0.72;
  context.fillStyle = theme.wafer;
  context.fillRect(...box(frame, usable));
  context.globalAlpha = 1;
  for (const number of map.marks.kernels) {
    const [x, y, width, height] = wafer.kernels[number].box;
    context.globalAlpha = showsLinks(map) ? 0.35 : 1;
    context.drawImage(map.bitmap, x - wafer.x0, y - wafer.y0, width, height, ...box(frame, [x, y, width, height]));
  }
  context.globalAlpha = 1;
}

function drawGrid(frame) {
  const { context, theme } = frame;
  context.strokeStyle = theme.wafer;
  context.globalAlpha = 0.55;
  context.lineWidth = Math.min(2, frame.scale / 12);
  context.beginPath();
  for (let x = Math.ceil(frame.left); x <= frame.right; x++) {
    context.moveTo(frame.x(x), 0);
    context.lineTo(frame.x(x), frame.map.height);
  }
  for (let y = Math.ceil(frame.top); y <= frame.bottom; y++) {
    context.moveTo(0, frame.y(y));
    context.lineTo(frame.map.width, frame.y(y));
  }
  context.stroke();
  context.globalAlpha = 1;
}

// An arrow across the border for every link that carries words, coloured by how many.
function drawLinks(frame) {
  const { context, wafer, scale } = frame;
  const size = scale * 0.16;
  for (let y = Math.floor(frame.top); y <= frame.bottom; y++) {
    for (let x = Math.floor(frame.left); x <= frame.right; x++) {
      if (!wafer.inside(x, y)) continue;
      const at = wafer.index(x, y);
      for (let direction = 0; direction < 4; direction++) {
        const { levels, index } = wafer.loads[direction];
        const words = levels[index[at]];
        if (!words) continue;
        const [dx, dy] = STEP[direction];
        // Links keep to their right, so that both directions can be seen.
        const cx = frame.x(x + 0.5 + dx * 0.5 - dy * 0.2),
          cy = frame.y(y + 0.5 + dy * 0.5 + dx * 0.2);
        context.beginPath();
        context.moveTo(cx + dx * size, cy + dy * size);
        context.lineTo(cx - dx * size - dy * size * 0.8, cy - dy * size + dx * size * 0.8);
        context.lineTo(cx - dx * size + dy * size * 0.8, cy - dy * size - dx * size * 0.8);
        context.closePath();
        context.fillStyle = css(SCALE[frame.map.shown.step(words)]);
        context.fill();
        context.lineWidth = 0.8;
        context.strokeStyle = frame.theme.ink;
        context.stroke();
      }
    }
  }
}

function drawKernels(frame) {
  const { context, theme, map, wafer } = frame;
  const marked = new Set(map.marks.kernels);
  context.strokeStyle = theme.paper;
  context.lineWidth = frame.scale < 2 ? 0.5 : 1;
  wafer.kernels.forEach((kernel, i) => {
    if (visible(frame, kernel.box) && !marked.has(i) && Math.min(kernel.box[2], kernel.box[3]) * frame.scale > 2) {
      context.strokeRect(...box(frame, kernel.box));
    }
  });
  for (const number of marked) {
    const [x, y, width, height] = box(frame, wafer.kernels[number].box);
    const room = Math.max(0, (5 - Math.min(width, height)) / 2); // so that a thin kernel can be seen
    context.lineWidth = 2;
    context.strokeStyle = theme.accent;
    context.strokeRect(x - 1 - room, y - 1 - room, width + 2 + 2 * room, height + 2 + 2 * room);
  }
}

function drawDefects(frame) {
  const { context, theme, wafer } = frame;
  context.fillStyle = theme.warn;
  for (const [x, y, width, height] of wafer.data.target.defects) {
    const w = Math.max(width, 3 / frame.scale),
      hgt = Math.max(height, 3 / frame.scale);
    if (visible(frame, [x, y, w, hgt]))
      context.fillRect(...box(frame, [x + (width - w) / 2, y + (height - hgt) / 2, w, hgt]));
  }
}

function drawPorts(frame) {
  const { context, theme, wafer } = frame;
  context.strokeStyle = context.fillStyle = theme.ink;
  context.font = `600 11px ${LETTERS}`;
  for (const port of wafer.data.ports) {
    if (!port.lanes.length) continue;
    const xs = port.lanes.map((lane) => lane[0]),
      ys = port.lanes.map((lane) => lane[1]);
    const [left, top] = [Math.min(...xs), Math.min(...ys)];
    const area = [left, top, Math.max(...xs) - left + 1, Math.max(...ys) - top + 1];
    if (!visible(frame, area)) continue;
    context.lineWidth = 2;
    context.strokeRect(...box(frame, area));
    context.textBaseline = "middle";
    const text = `${port.direction === "in" ? "→" : "←"} ${safe(port.name).slice(0, 60)}`;
    const outside = frame.x(left) - 6 - context.measureText(text).width > 0;
    context.textAlign = outside ? "right" : "left";
    haloed(
      frame,
      text,
      outside ? frame.x(left) - 6 : Math.max(6, frame.x(left + area[2]) + 6),
      frame.y(top + area[3] / 2),
    );
  }
}

function haloed(frame, text, x, y) {
  const { context, theme } = frame;
  context.lineJoin = "round";
  context.lineWidth = 3;
  context.strokeStyle = theme.paper;
  context.strokeText(text, x, y);
  context.fillStyle = theme.ink;
  context.fillText(text, x, y);
}

// A Path2D in fabric coordinates with lines of a width in pixels.
function drawPath(frame, path, colour, pixels, alpha = 1) {
  const { context } = frame;
  context.save();
  context.transform(frame.scale, 0, 0, frame.scale, frame.x(0), frame.y(0));
  context.lineJoin = context.lineCap = "round";
  context.globalAlpha = alpha;
  context.lineWidth = pixels / frame.scale;
  context.strokeStyle = colour;
  context.stroke(path);
  context.restore();
}

function linksPath(links) {
  const path = new Path2D();
  for (const [x, y, nextX, nextY] of links) {
    path.moveTo(x + 0.5, y + 0.5);
    path.lineTo(nextX + 0.5, nextY + 0.5);
  }
  return path;
}

function drawChannel(frame, channel) {
  const colour = frame.theme[channel.direction];
  channel.path ??= linksPath(channel.links);
  drawPath(frame, channel.path, frame.theme.paper, 4.5);
  drawPath(frame, channel.path, colour, 2.5);
  for (const end of channel.ends) dot(frame, end.x + 0.5, end.y + 0.5, colour);
}

function dot(frame, x, y, colour) {
  const { context } = frame;
  context.beginPath();
  context.arc(frame.x(x), frame.y(y), Math.max(3, Math.min(6, frame.scale * 0.3)), 0, 7);
  context.fillStyle = colour;
  context.fill();
  context.lineWidth = 1.5;
  context.strokeStyle = frame.theme.paper;
  context.stroke();
}

// A bundle of lanes as one line, the wider the more lanes, with a head at its end.
function drawStream(frame, { ways, lanes, direction }) {
  const colour = frame.theme[direction];
  const pixels = 1.5 + Math.min(5, Math.log2(1 + lanes) * 0.7);
  for (const way of ways) {
    const path = new Path2D();
    for (let i = 0; i < way.length; i += 2) path.lineTo(way[i] + 0.5, way[i + 1] + 0.5);
    drawPath(frame, path, frame.theme.paper, pixels + 2.5);
    drawPath(frame, path, colour, pixels);
    head(frame, way, colour, pixels);
  }
}

function head(frame, way, colour, pixels) {
  const n = way.length;
  const [x, y] = [way[n - 2] + 0.5, way[n - 1] + 0.5];
  if (n < 4) {
    dot(frame, x, y, colour);
    return;
  }
  const dx = Math.sign(way[n - 2] - way[n - 4]),
    dy = Math.sign(way[n - 1] - way[n - 3]);
  const { context } = frame,
    size = 5 + pixels;
  const [px, py] = [frame.x(x), frame.y(y)];
  context.beginPath();
  context.moveTo(px + dx * size, py + dy * size);
  context.lineTo(px - dy * size * 0.8, py + dx * size * 0.8);
  context.lineTo(px + dy * size * 0.8, py - dx * size * 0.8);
  context.closePath();
  context.fillStyle = colour;
  context.fill();
  context.lineWidth = 1.2;
  context.strokeStyle = frame.theme.paper;
  context.stroke();
}

function drawLabels(frame) {
  const { context, map, wafer } = frame;
  const marked = new Set(map.marks.kernels);
  context.font = `11px ${LETTERS}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  wafer.kernels.forEach((kernel, i) => {
    if (!visible(frame, kernel.box) || (marked.size && !marked.has(i))) return;
    const [x, y, width, height] = box(frame, kernel.box);
    const text = safe(kernel.name).slice(0, 60);
    const length = context.measureText(text).width + 8;
    if (length < width && height > 14) haloed(frame, text, x + width / 2, y + height / 2);
    else if (length < height && width > 14) {
      context.save();
      context.translate(x + width / 2, y + height / 2);
      context.rotate(-Math.PI / 2);
      haloed(frame, text, 0, 0);
      context.restore();
    }
  });
}

function drawCore(frame, { x, y }) {
  const { context, theme } = frame;
  const room = Math.max(0, (8 - frame.scale) / 2);
  const [px, py, size] = [frame.x(x) - room, frame.y(y) - room, frame.scale + 2 * room];
  context.lineWidth = 4;
  context.strokeStyle = theme.paper;
  context.strokeRect(px, py, size, size);
  context.lineWidth = 2;
  context.strokeStyle = theme.accent;
  context.strokeRect(px, py, size, size);
}

function drawMini(map) {
  const context = map.mini.getContext("2d");
  const theme = themeColours();
  const [columns, rows] = map.wafer.data.target.fabric;
  const scale = map.mini.width / columns;
  const { wafer, view } = map;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = theme.wafer;
  context.fillRect(0, 0, map.mini.width, map.mini.height);
  context.imageSmoothingEnabled = true;
  context.drawImage(map.bitmap, wafer.x0 * scale, wafer.y0 * scale, wafer.columns * scale, wafer.rows * scale);
  context.strokeStyle = theme.accent;
  context.lineWidth = 1.5 * map.ratio;
  const [width, height] = [map.width / view.scale, map.height / view.scale];
  const left = Math.max(0, view.x - width / 2),
    top = Math.max(0, view.y - height / 2);
  const right = Math.min(columns, view.x + width / 2),
    bottom = Math.min(rows, view.y + height / 2);
  context.strokeRect(left * scale, top * scale, (right - left) * scale, (bottom - top) * scale);
}
