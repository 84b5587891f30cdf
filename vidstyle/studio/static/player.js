// Opening a clip, and moving through its frames: the shown frame is exact, the newest wish wins.
import { bitmap, blob, get, postJson, send, tell, tried } from "./api.js";
import { byId } from "./dom.js";
import { layers, showDrawings, layerOf } from "./masks.js";
import { change, facts, newId, onChange, state } from "./state.js";
import { stage } from "./stage.js";
import { refresh } from "./panels.js";

const KEPT = 24; // frames
const frames = new Map(); // "path index" → ImageBitmap

export async function frameOf(path, index, of = "source") {
  const key = `${path} ${index}`;
  if (frames.has(key)) return frames.get(key);
  const found = await blob("/api/frame", { path, index, of, side: 1920 });
  const image = await bitmap(found.blob);
  frames.set(key, image);
  while (frames.size > KEPT) frames.delete(frames.keys().next().value);
  return image;
}

export const openClip = tried(async (path) => {
  const clip = await postJson("/api/open", { path });
  frames.clear();
  for (const style of state.styles) Object.assign(style, { mask: newId("mask") });
  change({ clip, index: 0, map: newId("map"), output: "", view: "source", tab: state.styles.length ? state.tab : "style", result: null });
  await showClip();
});

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
export const step = (by) => seek(aim + by);
export async function seek(index) {
  if (!state.clip) return;
  wanted = aim = Math.max(0, Math.min(state.clip.frames - 1, index));
  byId("scrub").value = wanted;
  showTime(wanted);
  if (busy) return;
  busy = true;
  try {
    while (wanted !== null) {
      const now = wanted;
      wanted = null;
      await showFrame(now);
    }
  } catch (error) { tell(error); stop(); } finally { busy = false; }
}

async function showFrame(index) {
  const clip = state.clip;
  const image = await frameOf(clip.path, index);
  if (state.clip !== clip) return;
  stage.source = image;
  change({ index });
  await showResult();
  stage.canvas.dataset.index = index;
  stage.draw();
  if (wanted === null || !playing) await showDrawings();
}

// Set what the stage compares the frame with: a preview, or the same frame of a result.
export async function showResult() {
  stage.result = null;
  if (state.view === "preview" && state.shot?.index === state.index) stage.result = state.shot.image;
  if (state.view === "result" && state.result) {
    const at = state.index - (state.result.first ?? 0);
    if (at >= 0 && at < state.result.frames) stage.result = await frameOf(state.result.path, at, "result");
  }
  byId("divider").hidden = !stage.result;
  stage.draw();
}

function showTime(index) {
  const { rate, frames: count } = state.clip;
  byId("time").value = `${index + 1} / ${count}${rate ? `   ${(index / rate).toFixed(2)} s` : ""}`;
}

let playing = null;
export function stop() { clearInterval(playing); playing = null; byId("play").textContent = "▶"; byId("play").setAttribute("aria-label", "Play"); }
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

// Files dropped on the page.
export const dropped = tried(async (files) => {
  const set = files.length > 1 ? `set-${Date.now()}` : "";
  let path = "";
  for (const file of files) {
    const query = new URLSearchParams({ name: file.name, ...(set ? { set } : {}) });
    byId("badge").hidden = false;
    byId("badge").textContent = `Copying ${file.name}…`;
    path = (await send("POST", `/api/upload?${query}`, file)).path;
  }
  byId("badge").hidden = true;
  if (path) await openClip(path);
});
export { facts };
