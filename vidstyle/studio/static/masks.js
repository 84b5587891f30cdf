// Masks and maps: the plane of the shown frame, its tools, key frames, selection and tracking.
import { bitmap, blob, get, post, send, tell, tried } from "./api.js";
import { byId, el, fillIf } from "./dom.js";
import { Plane, Stroke, History, changed, colored, feather, fillAll, flood, invert, palette } from "./pixels.js";
import { LABELS, change, onChange, state, uses } from "./state.js";
import { stage, styleStage } from "./stage.js";

const FAINT = 70; // opacity, of 255, of the first label, which a map has where nothing was painted
const MOST = 1920; // pixels of the long side of a painted plane
export const layers = {}; // id → {keys, tracked}
export const painted = () => Object.fromEntries(Object.entries(layers).map(([id, one]) => [id, one.keys.length > 0]));
export const tool = { name: "brush", size: 40, hardness: 0.7, flow: 255, label: 3, feather: 6 };
const TINTS = ["#ff5a36", "#3aa0ff", "#7ed957", "#d86bff", "#ffc83a", "#3ad6c6"];

// One thing that is painted: the frame's mask or map, or the map of a style picture.
class Drawing {
  constructor(on, still) {
    Object.assign(this, { stage: on, still, layer: "", index: -1, plane: null, how: "", blank: true, clicks: [] });
    this.histories = new Map(); // by layer
    this.canvas = document.createElement("canvas");
    this.saving = this.turns = Promise.resolve();
    this.goTo = () => {}; // shows another frame; set by the player
    on.drawing = this;
  }

  async show(layer, index, labels, tint) {
    const frame = this.still ? 0 : index;
    if (!this.stage.source) return;
    if (layer !== this.layer || frame !== this.index) this.stage.painter = null; // not painted on until it is there
    const turn = (this.turn = (this.turn ?? 0) + 1);
    await this.saving;
    const [w, h] = planeSize(this.stage.size);
    const plane = new Plane(w, h, labels);
    const found = await blob(`/api/layers/${layer}/${frame}`, {});
    if (turn !== this.turn) return;
    if (found) await readInto(plane, found.blob);
    Object.assign(this, { layer, index: frame, plane, labels, tint, blank: !found, clicks: [] });
    this.how = found?.headers.get("X-Drawing") ?? "none";
    this.refresh();
    if (!layers[layer]) layers[layer] = await get(`/api/layers/${layer}`);
    change();
  }

  get history() {
    if (!this.histories.has(this.layer)) this.histories.set(this.layer, new History());
    return this.histories.get(this.layer);
  }

  hide() { this.stage.overlay = null; this.stage.painter = null; this.plane = null; this.layer = ""; this.stage.draw(); }

  refresh(box = this.plane?.whole) {
    if (!this.plane || !box || !box[2] || !box[3]) return;
    const { width, height, labels } = this.plane;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      Object.assign(this.canvas, { width, height });
      box = this.plane.whole;
    }
    const hidden = labels && this.blank && !this.stroke; // nothing is painted yet
    const tint = rgb(this.tint);
    const shown = labels ? (value) => [...color(value), hidden ? 0 : value ? 255 : FAINT] : (value) => [...tint, value];
    this.canvas.getContext("2d").putImageData(colored(this.plane, box, palette(shown)), box[0], box[1]);
    this.stage.overlay = this.canvas;
    this.stage.painter = this;
    this.stage.draw();
  }

  get size() { return ["brush", "eraser", "smart"].includes(tool.name) ? tool.size : 0; }
  get width() { return this.plane.width; }
  point(x, y) { return [x * this.plane.width, y * this.plane.height]; }

  down(x, y, pressure, event) {
    if (tool.name === "fill" || tool.name === "click") { // when it is lifted: it may be the first of two fingers
      this.tapped = x >= 0 && y >= 0 && x < 1 && y < 1 ? [...this.point(x, y), event] : null;
    } else {
      if (tool.name === "smart") this.hint = new Plane(this.plane.width, this.plane.height);
      const value = this.labels ? (tool.name === "eraser" ? 0 : tool.label) : tool.flow;
      this.stroke = new Stroke(this.hint ?? this.plane, {
        size: tool.size, hardness: this.hint ? 1 : tool.hardness, value: this.hint ? 255 : value,
        erase: tool.name === "eraser" && !this.labels });
      this.move(x, y, pressure);
    }
  }

  move(x, y, pressure) {
    if (!this.stroke) return;
    const box = this.stroke.to(...this.point(x, y), pressure);
    if (!this.hint) { this.refresh(box); return; }
    if (box) { const real = this.plane; this.plane = this.hint; this.refresh(); this.plane = real; }
  }

  drop() { // a second finger: it was no stroke
    if (this.stroke && !this.hint) this.plane.data = this.stroke.before;
    this.stroke = this.hint = this.tapped = null;
    this.refresh();
  }

  tap([x, y, event]) {
    this.tapped = null;
    if (tool.name === "click") this.click(x, y, !event.altKey && !event.shiftKey);
    else this.apply(flood(Math.floor(x), Math.floor(y), this.labels ? tool.label : event.altKey ? 0 : 255));
  }

  up() {
    if (this.tapped) this.tap(this.tapped);
    const change = this.stroke?.change;
    const hint = this.hint;
    this.stroke = this.hint = null;
    if (hint) { this.smart(hint); return; }
    if (change) { this.done(change); this.refresh(); }
  }

  apply(how) {
    if (this.stage.near) throw new Error("the frame is being decoded; try again when it is shown");
    this.done(changed(this.plane, how));
    this.refresh();
  }

  done(one) {
    this.blank = false;
    this.history.add({ ...one, layer: this.layer, index: this.index });
    this.save();
  }

  async again(one, which) {
    if (!one) return;
    if (!this.still && (one.index !== this.index || one.index !== state.index)) await this.goTo(one.index);
    this.plane.paste(one.box, one[which]);
    this.refresh(one.box);
    this.save();
  }

  // One after another: an earlier one may have to show another frame first.
  undo() { return (this.turns = this.turns.then(tried(() => this.again(this.plane && this.history.undo(), "before")))); }
  redo() { return (this.turns = this.turns.then(tried(() => this.again(this.plane && this.history.redo(), "after")))); }

  // Store the plane as a key frame of the shown frame.
  save() {
    const { layer, index } = this;
    const file = toPng(this.plane);
    this.how = "key";
    this.saving = this.saving.then(async () => {
      layers[layer] = await send("PUT", `/api/layers/${layer}/${index}`, await file);
      change();
    }).catch(tell);
    return this.saving;
  }

  async take(data, asBase = false) {
    const plane = new Plane(this.plane.width, this.plane.height, this.labels);
    await readInto(plane, data);
    if (asBase) plane.data.forEach((value, i) => { plane.data[i] = Math.max(value, this.plane.data[i]); });
    this.apply((now) => now.data.set(plane.data));
  }

  // Ask the server for a selection of the frame; hints: {subject} or {points, labels} or {strokes}.
  async select(hints, asBase = false) {
    if (this.stage.near) throw new Error("the frame is being decoded; select when it is shown");
    this.selecting = (this.selecting ?? 0) + 1;
    change();
    try {
      const { layer, index, plane: { width, height } } = this;
      const values = { path: state.clip.path, index, size: [width, height], ...hints };
      const found = await (await post("/api/select", values)).blob();
      if (this.layer !== layer || this.index !== index) {
        throw new Error(`the selection for frame ${index} is dropped, as its mask is no longer shown; select again`);
      }
      await this.take(found, asBase);
    } finally { this.selecting -= 1; change(); }
  }

  click(x, y, inside) {
    this.clicks.push([x, y, inside ? 1 : 0]);
    tried(() => this.select({ points: this.clicks.map((c) => c.slice(0, 2)), labels: this.clicks.map((c) => c[2]) }))();
  }

  smart(hint) {
    tried(async () => {
      await send("PUT", `/api/layers/strokes/${this.index}`, await toPng(hint));
      await this.select({ strokes: true }, true);
    })();
  }
}

export const drawing = new Drawing(stage, false);
export const styleDrawing = new Drawing(styleStage, true);

function planeSize([w, h]) {
  const full = state.clip && stage.source ? [state.clip.width, state.clip.height] : [w, h];
  const [pw, ph] = Math.abs(full[0] / full[1] - w / h) < 0.02 ? full : [w, h];
  const scale = Math.min(1, MOST / Math.max(pw, ph));
  return [Math.round(pw * scale), Math.round(ph * scale)];
}

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const COLORS = LABELS.map(rgb);
const color = (value) => COLORS[value] ?? [0, 0, 0];

async function readInto(plane, data) {
  const image = await bitmap(data);
  const canvas = new OffscreenCanvas(plane.width, plane.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = !plane.labels;
  context.drawImage(image, 0, 0, plane.width, plane.height);
  const { data: pixels } = context.getImageData(0, 0, plane.width, plane.height);
  let clear = false;
  for (let i = 3; i < pixels.length && !clear; i += 4) clear = pixels[i] < 255;
  const known = new Map(); // label of a colour
  for (let i = 0, at = 0; i < plane.data.length; i++, at += 4) {
    const r = pixels[at], g = pixels[at + 1], b = pixels[at + 2];
    if (plane.labels) {
      const key = (r << 16) | (g << 8) | b;
      if (!known.has(key)) known.set(key, nearest(r, g, b));
      plane.data[i] = known.get(key);
    } else plane.data[i] = clear ? pixels[at + 3] : Math.round(0.2126 * r + 0.7152 * g + 0.0722 * b);
  }
}

function nearest(r, g, b) {
  let best = 0, least = Infinity;
  COLORS.forEach((c, i) => {
    const far = (c[0] - r) ** 2 + (c[1] - g) ** 2 + (c[2] - b) ** 2;
    if (far < least) [best, least] = [i, far];
  });
  return best;
}

async function toPng(plane) {
  const shown = plane.labels ? (value) => [...color(value), 255] : (value) => [value, value, value, 255];
  const image = colored(plane, plane.whole, palette(shown));
  const canvas = new OffscreenCanvas(plane.width, plane.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

// Which drawing the tools work on.
export const current = () => (state.target === "style" && styleDrawing.plane ? styleDrawing : drawing);
export const layerOf = () => (uses("mask") ? state.styles[state.active]?.mask : uses("map") ? state.map : "");

// Show the drawings that belong to the frame and the technique.
export async function showDrawings() {
  const guided = state.tab === "where" && (uses("mask") || uses("map") || uses("style_map"));
  const layer = layerOf();
  if (!guided || !state.clip || !stage.source) drawing.hide();
  else if (layer) await drawing.show(layer, state.index, !uses("mask"), TINTS[state.active % TINTS.length]);
  else drawing.hide();
  const style = state.styles[state.active];
  const mapped = guided && uses("style_map") && style;
  byId("style-view").hidden = !mapped;
  if (mapped) {
    if (styleStage.path !== style.path) {
      styleStage.path = style.path;
      const found = await blob("/api/picture", { path: style.path, side: 1024 });
      styleStage.source = await bitmap(found.blob);
    }
    await styleDrawing.show(style.map, 0, true, TINTS[0]);
  } else { styleDrawing.hide(); styleStage.path = ""; }
}

export const track = tried(async (progress) => {
  const layer = layerOf();
  const kind = uses("mask") ? "mask" : "map";
  const query = new URLSearchParams({ path: state.clip.path, kind });
  await drawing.saving;
  await new Promise((resolve, reject) => {
    const source = new EventSource(`/api/layers/${layer}/track?${query}`);
    progress.cancel = () => { source.close(); resolve(); };
    source.onmessage = ({ data }) => {
      const one = JSON.parse(data);
      if (one.error) { source.close(); reject(new Error(one.error)); }
      else if (one.event === "done") { source.close(); resolve(); }
      else progress.show(one);
    };
    source.onerror = () => { source.close(); resolve(); };
  }).finally(async () => {
    layers[layer] = await get(`/api/layers/${layer}`);
    await showDrawings();
  });
});

export async function loadLayers() {
  const ids = [...state.styles.flatMap((s) => [s.mask, s.map]), state.map].filter(Boolean);
  await Promise.all(ids.map(async (id) => { layers[id] ??= await get(`/api/layers/${id}`); }));
}

export const importPng = tried(async (of, file) => {
  try { await of.take(file); } catch (error) {
    throw error.name === "InvalidStateError" ? new Error(`expected a PNG picture, got ${file.name}; choose another`) : error;
  }
});
export const exportPng = tried(async (of) => {
  const url = URL.createObjectURL(await toPng(of.plane));
  el("a", { href: url, download: `${of.layer}-${String(of.index).padStart(6, "0")}.png` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
});

export const deleteKey = tried(async () => {
  layers[drawing.layer] = await send("DELETE", `/api/layers/${drawing.layer}/${state.index}`);
  await showDrawings();
});

// The toolbar.
const TOOLS = [["brush", "Brush", "B"], ["eraser", "Eraser", "E"], ["fill", "Fill", "F"], ["smart", "Smart", "S"], ["click", "Click", "C"]];
const HINTS = {
  brush: "Drag to paint. Two fingers or the wheel zoom.",
  eraser: "Drag to take paint away.",
  fill: "Click an area to fill it; with Alt, to empty it.",
  smart: "Paint roughly over an object: its outline is found.",
  click: "Click an object to select it; with Shift, what does not belong to it.",
};

export function chooseTool(name) { tool.name = name; drawTools(); stage.draw(); }

export function drawTools() {
  const bar = byId("tools");
  const drawn = current();
  if (byId("hint")) byId("hint").textContent = HINTS[tool.name];
  bar.hidden = state.tab !== "where" || !drawn.plane;
  if (bar.hidden) return;
  fillIf(bar, [drawn.labels, tool.name, tool.label], () => toolbar(drawn.labels));
  for (const slider of bar.querySelectorAll("input")) slider.value = tool[slider.name];
}

function toolbar(labels) {
  const names = TOOLS.filter(([name]) => !labels || !["smart", "click"].includes(name));
  const slider = (text, name, low, high, step) => el("label", {}, text, el("input", {
    type: "range", name, min: low, max: high, step, "aria-label": `Brush ${text.toLowerCase()}`,
    oninput: (event) => { tool[name] = Number(event.target.value); stage.draw(); } }));
  const act = (text, label, action) => el("button", {
    type: "button", "aria-label": label, title: label, onclick: tried(() => action(current())) }, text);
  return [
    ...names.map(([name, text, key]) => el("button", {
      type: "button", "aria-pressed": String(tool.name === name), title: `${HINTS[name]} (${key})`, "data-tool": name,
      onclick: () => chooseTool(name) }, text)),
    slider("Size", "size", 1, 300, 1),
    ...labels ? LABELS.map(swatch) : [slider("Hardness", "hardness", 0, 1, 0.05)],
    act("↶", "Undo", (drawn) => drawn.undo()), act("↷", "Redo", (drawn) => drawn.redo()),
    ...labels ? [] : [
      act("Invert", "Invert the mask", (drawn) => drawn.apply(invert)),
      act("Feather", `Soften the edges by ${tool.feather} pixels`, (drawn) => drawn.apply(feather(tool.feather))),
      act("All", "The whole frame", (drawn) => drawn.apply(fillAll(255)))],
    act("Clear", "Clear the frame", (drawn) => drawn.apply(fillAll(0))),
  ];
}

function swatch(color, index) {
  const made = el("button", {
    type: "button", class: "swatch", role: "radio", "aria-checked": String(tool.label === index),
    "aria-label": `Label ${color}`, "data-label": index, onclick: () => { tool.label = index; drawTools(); } });
  made.style.background = color;
  return made;
}

for (const [canvas, target] of [["view", "frame"], ["style-view", "style"]]) {
  byId(canvas).addEventListener("pointerdown", () => { if (state.target !== target) change({ target }); }, true);
}

onChange(() => {
  const words = { key: "Key frame", tracked: "Tracked", nearest: "From the nearest key frame, not tracked", none: "Nothing painted here" };
  const shown = state.tab === "where" && drawing.plane;
  byId("badge").hidden = !shown;
  byId("badge").textContent = drawing.selecting ? "Selecting…" : words[drawing.how] ?? "";
});
