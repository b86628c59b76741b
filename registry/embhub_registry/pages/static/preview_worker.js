// Generates images in the reader's browser: sampling with a built-in base and one embedding, in a thread of its own.
// The graphs name the weights by their place in the base's safetensors files; sampling.json holds what else is needed.
import * as ort from "/static/onnxruntime/1.30.0/ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1; // more would need headers that keep other sites' windows away from the registry's
ort.env.wasm.wasmPaths = {
  mjs: "/static/onnxruntime/1.30.0/ort-wasm-simd-threaded.mjs",
  wasm: "/static/onnxruntime/1.30.0/ort-wasm-simd-threaded.wasm",
};

// Half-precision numbers as 32-bit ones.
function widen(halves) {
  const out = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i += 1) {
    const sign = halves[i] & 0x8000 ? -1 : 1;
    const exponent = (halves[i] >> 10) & 31;
    const fraction = halves[i] & 1023;
    if (exponent === 0) out[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) out[i] = fraction ? NaN : sign * Infinity;
    else out[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return out;
}

// The vectors of an embedding file: the tensor emb_params of a safetensors file, [rows][width].
function readVectors(buffer, width) {
  const size = Number(new DataView(buffer).getBigUint64(0, true));
  if (size > buffer.byteLength - 8) throw new Error("the file is cut off");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
  const facts = header.emb_params;
  if (!facts || facts.shape.length !== 2 || facts.shape[1] !== width) throw new Error("the file holds no vectors for this base");
  const bytes = buffer.slice(8 + size + facts.data_offsets[0], 8 + size + facts.data_offsets[1]);
  if (facts.dtype === "F32") return new Float32Array(bytes);
  if (facts.dtype === "F16") return widen(new Uint16Array(bytes));
  if (facts.dtype === "BF16") return new Float32Array(Uint32Array.from(new Uint16Array(bytes), (half) => half << 16).buffer);
  throw new Error(`the file's numbers are ${facts.dtype}`);
}

// Normal noise from a seed: Marsaglia and Bray's polar method over the generator mulberry32.
function noise(seed, count) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    let u, v, s;
    do {
      u = 2 * uniform() - 1;
      v = 2 * uniform() - 1;
      s = u * u + v * v;
    } while (s >= 1 || s === 0);
    const scale = Math.sqrt((-2 * Math.log(s)) / s);
    out[i] = u * scale;
    if (i + 1 < count) out[i + 1] = v * scale;
  }
  return out;
}

async function load(address) {
  const answer = await fetch(address, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(`${address.split("/").pop()}: the registry answered ${answer.status}`);
  return answer.arrayBuffer();
}

async function session(base, graph, weights) {
  const [model, data] = await Promise.all([load(`${base}/${graph}.onnx`), weights]);
  const external = { path: "weights", data: new Uint8Array(data) };
  return ort.InferenceSession.create(new Uint8Array(model), { externalData: [external] });
}

// Everything of a base that sampling needs.
async function open(base) {
  const settings = JSON.parse(new TextDecoder().decode(await load(`${base}/sampling.json`)));
  const words = load(`${base}/text_encoder.safetensors`);
  const text = await session(base, "text_encoder", words);
  const denoiser = await session(base, "unet", load(`${base}/unet.safetensors`));
  const decoder = await session(base, "vae_decoder", load(`${base}/vae.safetensors`));
  const { offset, rows } = settings.table;
  const table = widen(new Uint16Array((await words).slice(offset, offset + 2 * rows * settings.width)));
  return { settings, text, denoiser, decoder, table };
}

// What the denoiser reads, and the weight of each prediction: without a prompt, with the prompt alone, and with the
// vectors at its end. As in `embhub generate --interpolate-to`, the strength mixes the predictions of the two prompts.
async function encode(opened, before, vectors, strength) {
  const { length, width, start, end, guidance } = opened.settings;
  const count = vectors.length / width;
  if (before.length + count + 2 > length) throw new Error("prompt and vectors are longer than the base reads");
  const prompts = [
    { weight: 1 - guidance, ids: [], more: [] },
    { weight: guidance * (1 - strength), ids: before, more: [] },
    { weight: guidance * strength, ids: before, more: vectors },
  ].filter(({ weight }) => weight !== 0);
  const rows = new Float32Array(prompts.length * length * width);
  const put = (place, id) => rows.set(opened.table.subarray(id * width, (id + 1) * width), place * width);
  prompts.forEach(({ ids, more }, number) => {
    const first = number * length;
    put(first, start);
    for (let i = 1; i < length; i += 1) put(first + i, end);
    ids.forEach((id, i) => put(first + 1 + i, id));
    rows.set(more, (first + 1 + ids.length) * width);
  });
  const made = await opened.text.run({ rows: new ort.Tensor("float32", rows, [prompts.length, length, width]) });
  return { read: Object.values(made)[0], weights: prompts.map(({ weight }) => weight) };
}

// One image from its first noise: classifier-free guidance, and a multistep sampler as sums.
async function sample(opened, { read, weights }, latents, onStep) {
  const { settings } = opened;
  const size = latents.length;
  let x = latents, before = new Float32Array(size);
  for (const [number, step] of settings.steps.entries()) {
    const copies = new Float32Array(weights.length * size);
    weights.forEach((_, row) => copies.set(x, row * size));
    const given = {
      latents: new ort.Tensor("float32", copies, [weights.length, ...settings.latents]),
      time: new ort.Tensor("float32", new Float32Array(weights.length).fill(step.time), [weights.length]),
      text: read,
    };
    const predicted = Object.values(await opened.denoiser.run(given))[0].data;
    const next = new Float32Array(size), clean = new Float32Array(size);
    for (let i = 0; i < size; i += 1) {
      const v = weights.reduce((sum, weight, row) => sum + weight * predicted[row * size + i], 0);
      clean[i] = step.clean_x * x[i] + step.clean_v * v;
      next[i] = step.x * x[i] + step.v * v + step.before * before[i];
    }
    x = next;
    before = clean;
    onStep(number + 1, settings.steps.length);
  }
  const made = await opened.decoder.run({ latents: new ort.Tensor("float32", x, [1, ...settings.latents]) });
  return Object.values(made)[0].data;
}

// Pixels (red, green, blue, opaque) of an image of three planes between -1 and 1.
function pixels(planes, side) {
  const area = side * side;
  const out = new Uint8ClampedArray(4 * area);
  for (let i = 0; i < area; i += 1) {
    for (let c = 0; c < 3; c += 1) {
      const value = planes[c * area + i];
      if (!Number.isFinite(value)) throw new Error("the base computed values that are not numbers");
      out[4 * i + c] = Math.round((value / 2 + 0.5) * 255);
    }
    out[4 * i + 3] = 255;
  }
  return out;
}

async function check(buffer, digest) {
  if (!self.crypto.subtle) return; // no secure context: the registry is asked over plain http
  const found = new Uint8Array(await self.crypto.subtle.digest("SHA-256", buffer));
  const written = Array.from(found, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (written !== digest) throw new Error("the file is not the one that was verified");
}

const bases = new Map();

async function generate({ base, file, digest, prompt, strength, seed, count }) {
  const data = await load(file);
  await check(data, digest);
  if (!bases.has(base)) bases.set(base, open(base));
  const opened = await bases.get(base);
  const { settings } = opened;
  const text = await encode(opened, settings.prompts[prompt].before, readVectors(data, settings.width), strength);
  const area = settings.latents.reduce((a, b) => a * b, 1);
  for (let i = 0; i < count; i += 1) {
    const done = (step, steps) => self.postMessage({ done: i * steps + step, of: count * steps });
    const planes = await sample(opened, text, noise(seed + i, area), done);
    self.postMessage({ image: pixels(planes, settings.side), side: settings.side, number: i });
  }
  self.postMessage({ finished: true });
}

self.addEventListener("message", async ({ data }) => {
  try {
    await generate(data);
  } catch (error) {
    bases.delete(data.base);
    self.postMessage({ failed: error.message });
  }
});
