// Opening a clip, and moving through its frames: the shown frame is exact, the newest wish wins.
import { bitmap, blob, get, postJson, tell, tried, upload } from "./api.js";
import { byId } from "./dom.js";
import { drawing, layers, showDrawings, layerOf } from "./masks.js";
import { change, facts, newId, onChange, state } from "./state.js";
import { stage } from "./stage.js";
import { refresh } from "./panels.js";

const KEPT = 24; // frames
const LATE = 120; // milliseconds after which a nearby frame is shown first
const frames = new Map(); // "path index" → ImageBitmap

const proxies = new WeakSet(); // pictures that are smaller than their frame

// Return a frame. whole: not its proxy, a smaller picture that comes at once. signal: ends decoding.
export async function frameOf(path, index, of = "source", whole = false, signal = null) {
  const key = `${path} ${index}`;
  const known = frames.get(key);
  if (known && !(whole && proxies.has(known))) return known;
  const found = await blob("/api/frame", { path, index, of, side: 1920, ...(whole ? {} : { proxy: 1 }) }, signal);
  const image = await bitmap(found.blob);
  if (found.headers.get("X-Proxy")) proxies.add(image);
  frames.set(key, image);
  while (frames.size > KEPT) frames.delete(frames.keys().next().value);
  return image;
}

// Return the nearest frame that comes at once, and its index; null if there is none.
async function frameNear(path, index) {
  const found = await blob("/api/frame", { path, index, proxy: "near" });
  return found && { image: await bitmap(found.blob), index: Number(found.headers.get("X-Frame")) };
}

export const forgetFrames = () => frames.clear();

let opened = 0;

// Open a clip. asFrames: a folder holds the frames of a video, not photos.
export const openClip = tried(async (path, { asFrames = false } = {}) => {
  opened += 1;
  const own = opened;
  const clip = await postJson("/api/open", { path, as_frames: asFrames });
  if (own !== opened) return; // another clip was chosen while this one was opened
  forgetFrames();
  if (asFrames) state.options.rate ??= "25";
  else delete state.options.rate;
  changeLayers(clip.path);
  change({ clip, index: 0, output: "", view: "source", tab: state.styles.length ? state.tab : "style", result: null });
  await showClip();
});

// Let the masks and the map belong to another clip: new ones, or those painted when it was open before.
function changeLayers(path) {
  if (state.clip) state.drawn[state.clip.path] = { map: state.map, masks: state.styles.map((style) => [style.path, style.mask]) };
  const { map, masks } = state.drawn[path] ?? {};
  const left = [...masks ?? []];
  for (const style of state.styles) {
    const at = left.findIndex(([of]) => of === style.path);
    style.mask = at < 0 ? newId("mask") : left.splice(at, 1)[0][1];
  }
  state.map = map ?? newId("map");
}

// Show the open clip: after opening it, or when the page comes back.
export async function showClip() {
  const { clip } = state;
  byId("clip-name").textContent = clip.path;
  byId("scrub").max = clip.frames - 1;
  stage.fit();
  await seek(state.index);
  await refresh();
  if (!clip.counted) {
    get("/api/scan", { path: clip.path }).then(({ frames: count }) => {
      if (state.clip !== clip) return;
      Object.assign(clip, { frames: count, counted: true });
      byId("scrub").max = count - 1;
      change();
    }).catch(tell);
  }
}

let wanted = null;
let aim = 0; // the frame that was requested last
let busy = false;
let slow = null; // AbortController of a frame that takes long
export const step = (by) => seek(aim + by);
export async function seek(index) {
  if (!state.clip) return;
  wanted = aim = Math.max(0, Math.min(state.clip.frames - 1, index));
  byId("scrub").value = wanted;
  showTime(wanted);
  if (busy) { slow?.abort(); return; }
  busy = true;
  try {
    while (wanted !== null) {
      const now = wanted;
      wanted = null;
      try { await showFrame(now); } catch (error) { if (error.name !== "AbortError") throw error; }
    }
  } catch (error) {
    tell(error);
    stop();
    if (stage.near) await showFrame(state.index).catch(tell);
  } finally { busy = false; }
}

// Go to a frame and wait until it is shown.
drawing.goTo = async (index) => {
  stop();
  await seek(index);
  while (busy) await new Promise((resolve) => { setTimeout(resolve, 20); });
};

let resting = 0;
// Show the frame itself in place of its proxy, once the slider rests.
async function sharpen() {
  const { clip, index } = state;
  if (playing || busy || ![stage.source, stage.result].some((one) => one && proxies.has(one))) return;
  const [source, result] = await Promise.all([frameOf(clip.path, index, "source", true), resultAt(index, true)]);
  if (state.clip !== clip || state.index !== index || busy) return;
  Object.assign(stage, { source, result });
  stage.canvas.dataset.whole = index;
  showCompared();
}

async function showFrame(index) {
  const { clip } = state;
  const decoding = new AbortController();
  const late = setTimeout(() => { slow = decoding; showNear(index).catch(tell); }, LATE);
  let image, result;
  try {
    [image, result] = await Promise.all([
      frameOf(clip.path, index, "source", false, decoding.signal), resultAt(index, false, decoding.signal)]);
  } finally { clearTimeout(late); slow = null; }
  if (state.clip !== clip) return;
  clearTimeout(resting);
  resting = setTimeout(tried(sharpen), 150);
  Object.assign(stage, { source: image, result, near: false });
  change({ index });
  showCompared();
  delete stage.canvas.dataset.near;
  stage.canvas.dataset.index = index;
  if (wanted === null || !playing) await showDrawings();
}

// While a frame is decoded, show the nearest one that is at hand, marked as such and not to be painted on.
async function showNear(index) {
  const { clip } = state;
  if (playing || state.view !== "source") return;
  const near = await frameNear(clip.path, index);
  if (!near || !slow || state.clip !== clip) return;
  Object.assign(stage, { source: near.image, result: null, near: true });
  stage.canvas.dataset.near = near.index;
  byId("badge").textContent = `Frame ${near.index}, until frame ${aim} is decoded…`;
  byId("badge").hidden = false;
  showCompared();
}

// Return what the stage compares a frame with: a preview, or the same frame of a result.
async function resultAt(index, whole = false, signal = null) {
  if (state.view === "preview" && state.shot?.index === index) return state.shot.image;
  const at = index - (state.result?.first ?? 0);
  if (state.view !== "result" || !state.result || at < 0 || at >= state.result.frames) return null;
  return frameOf(state.result.path, at, "result", whole, signal);
}

export async function showResult() {
  const index = state.index;
  const result = await resultAt(index);
  if (index === state.index) stage.result = result;
  showCompared();
}

function showCompared() {
  stage.beside = Boolean(state.beside);
  byId("divider").hidden = !stage.result || stage.beside;
  byId("beside").hidden = !stage.result;
  byId("beside").setAttribute("aria-pressed", String(stage.beside));
  stage.draw();
}

function showTime(index) {
  const { rate, frames: count } = state.clip;
  byId("time").value = `frame ${index} of ${count}${rate ? `   ${(index / rate).toFixed(2)} s` : ""}`;
}

let playing = null;
export function stop() { clearInterval(playing); playing = null; byId("play").textContent = "▶"; byId("play").setAttribute("aria-label", "Play"); if (state.clip) resting = setTimeout(tried(sharpen), 150); }
export function play() {
  if (playing) { stop(); return; }
  if (!state.clip) return;
  byId("play").textContent = "❚❚";
  byId("play").setAttribute("aria-label", "Stop");
  playing = setInterval(() => {
    if (busy) return;
    seek((state.index + 1) % state.clip.frames);
  }, 1000 / Math.min(30, state.clip.rate ?? 2));
}

byId("scrub").addEventListener("input", (event) => { stop(); seek(Number(event.target.value)); });
byId("play").addEventListener("click", play);
byId("divider").addEventListener("input", (event) => { stage.split = event.target.value / 1000; stage.draw(); });
stage.onSplit = (share) => { byId("divider").value = 1000 * share; };
byId("beside").addEventListener("click", () => { change({ beside: !state.beside }); showCompared(); });

onChange(() => {
  if (!state.clip) return;
  const one = layers[layerOf()];
  const last = Math.max(1, state.clip.frames - 1);
  const marks = (one?.keys ?? []).map((key) => {
    const mark = document.createElement("i");
    mark.style.left = `${(100 * key) / last}%`;
    return mark;
  });
  if (one?.tracked) marks.unshift(document.createElement("b"));
  byId("marks").replaceChildren(...marks);
});

// Return the files of a drop, and the name of the folder if it is one.
export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  const folder = entries.find((entry) => entry.isDirectory);
  if (!folder) return { files: [...transfer.files], folder: "" };
  const reader = folder.createReader();
  const found = [];
  for (;;) { // at most 100 at a time
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) break;
    found.push(...some.filter((entry) => entry.isFile && !entry.name.startsWith(".")));
  }
  const files = await Promise.all(found.map((entry) => new Promise((resolve, reject) => { entry.file(resolve, reject); })));
  return { files, folder: folder.name };
}

// Copy a clip, or the pictures of a folder, to the studio's folder and open it.
export const dropped = tried(async ({ files, folder }) => {
  const several = folder || files.length > 1;
  const set = several ? `${folder || "photos"}-${Date.now().toString(36)}` : "";
  const badge = byId("badge");
  const refused = [];
  let path = "";
  try {
    for (const [index, file] of files.entries()) {
      badge.hidden = false;
      badge.textContent = `Copying ${file.name}${several ? `, ${index + 1} of ${files.length}` : ""}…`;
      try { path = await upload(file, set); } catch (error) {
        if (!several) throw error;
        refused.push(error);
      }
    }
  } finally { badge.hidden = true; }
  if (refused.length) tell(new Error(`${refused.length} of ${files.length} files were left out; the first: ${refused[0].message}`));
  if (path) await openClip(path);
  else if (!files.length) throw new Error(`expected pictures in the folder ${folder}, got none; drop another`);
});
export { facts };
