// The form of the preview page: sends what was chosen to the worker, and lays its images out as a labelled sheet.
const form = document.querySelector("form[data-preview]");
const said = document.getElementById("preview-said");
const progress = document.getElementById("preview-progress");
const sheet = document.getElementById("preview-sheet");
const button = form.querySelector("button");
const slider = form.elements.strength;
const { base, file, digest, label } = form.dataset;
const STRIP = 40; // pixels of the label below the images
let worker = null;

function lay(side, count, strength) {
  const columns = Math.min(count, 4), scale = 256 / side;
  sheet.width = columns * 256;
  sheet.height = Math.ceil(count / columns) * 256 + STRIP;
  const pen = sheet.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pen.fillStyle = "#fff";
  pen.font = "16px sans-serif";
  pen.textBaseline = "middle";
  pen.fillText(`${label} · strength ${strength} · not for diagnosis`, 8, sheet.height - STRIP / 2, sheet.width - 16);
  return { pen, columns, scale };
}

function show(message, where) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = message.side;
  canvas.getContext("2d").putImageData(new ImageData(message.image, message.side, message.side), 0, 0);
  const x = (message.number % where.columns) * 256, y = Math.floor(message.number / where.columns) * 256;
  where.pen.drawImage(canvas, x, y, 256, 256);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const count = Number(form.elements.count.value), seed = Number(form.elements.seed.value);
  const prompt = Number(form.elements.prompt.value), strength = Number(slider.value);
  const started = performance.now();
  let where = null;
  worker ??= new Worker("/static/preview_worker.js", { type: "module" });
  button.disabled = true;
  progress.hidden = false;
  progress.removeAttribute("value");
  said.textContent = "Loading the base …";
  const ended = (text) => {
    said.textContent = text;
    button.disabled = false;
    progress.hidden = true;
  };
  worker.onerror = () => {
    worker.terminate();
    worker = null; // the next click starts another one
    sheet.closest("figure").hidden = true;
    ended("The base could not be started. Try again; it needs a browser with WebAssembly and module workers.");
  };
  worker.onmessage = ({ data }) => {
    if (data.failed) {
      sheet.closest("figure").hidden = true;
      return ended(`Nothing was generated: ${data.failed}.`);
    }
    if (data.finished) {
      ended(`${count} images in ${((performance.now() - started) / 1000).toFixed(0)} seconds, at strength ${strength}.`);
      if (Number(slider.value) !== strength) form.requestSubmit(); // it was moved meanwhile
      return undefined;
    }
    if (data.image) {
      where ??= lay(data.side, count, strength);
      sheet.closest("figure").hidden = false;
      return show(data, where);
    }
    progress.max = data.of;
    progress.value = data.done;
    if (data.done === 1) said.textContent = "Generating …";
    return undefined;
  };
  worker.postMessage({ base, file, digest, prompt, strength, seed, count });
});
slider.addEventListener("input", () => {
  document.getElementById("strength-shown").textContent = slider.value;
});
slider.addEventListener("change", () => {
  if (worker && !button.disabled && !sheet.closest("figure").hidden) form.requestSubmit();
});
button.disabled = !(window.Worker && window.WebAssembly);
