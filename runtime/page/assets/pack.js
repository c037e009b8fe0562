// Reads what runtime/page/pack.py packed.

async function inflate(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };

async function unpack(packed) {
  const buffer = await inflate(packed.data);
  return packed.kind === "json" ? JSON.parse(new TextDecoder().decode(buffer)) : new ARRAYS[packed.kind](buffer);
}

// A raster of few different numbers: `levels[index[cell]]`.
async function unpackLevels(packed) {
  const [levels, index] = await Promise.all([unpack(packed.levels), unpack(packed.index)]);
  return { levels, index };
}

// Unpacks when it is asked for the first time.
function lazily(packed) {
  let found = null;
  return () => (found ??= unpack(packed));
}
