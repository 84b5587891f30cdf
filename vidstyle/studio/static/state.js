// What the page shows: one object, kept on the server so that nothing is lost when it is closed.
import { send, tell } from "./api.js";
import { byId } from "./dom.js";

export const LABELS = ["#0000ff", "#00ffff", "#00ff00", "#ff0000", "#ffff00", "#ff00ff", "#ff8000", "#ffffff"];

export const facts = { settings: [], techniques: [], samples: {}, start: "" }; // from the server

export const state = {
  clip: null, index: 0, technique: "basic", styles: [], options: {}, output: "", target: "frame",
  active: 0, map: "", tab: "open", view: "source", beside: false, previewSize: 256, drawn: {},
};

const listeners = new Set();
export const onChange = (listener) => listeners.add(listener);

let timer = 0;
export function change(values = {}) {
  Object.assign(state, values);
  for (const listener of listeners) listener(values);
  clearTimeout(timer);
  timer = setTimeout(save, 600);
}

async function save() {
  try {
    await send("PUT", "/api/project", JSON.stringify(state));
    byId("saved").textContent = "Saved";
  } catch (error) { tell(error); }
}

export const technique = () => facts.techniques.find((one) => one.name === state.technique);
export const uses = (kind) => technique() && technique().inputs[kind] !== "not accepted";
export const needs = (kind) => technique()?.inputs[kind] === "required";
export const newId = (kind) => `${kind}-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;

// The options of a run: what differs from the defaults.
function givenOptions() {
  const known = new Map([...facts.settings, ...(technique()?.options ?? [])].map((o) => [o.name, o]));
  return Object.fromEntries(Object.entries(state.options).filter(([name]) => known.has(name)));
}

// Return the request that was clicked, or a sentence that names the missing input.
export function request(painted = {}) {
  if (!state.clip) return "Open a clip first.";
  if (!state.styles.length) return "Choose a style picture.";
  const blend = state.styles.length > 1 && state.technique !== "mask";
  const values = {
    technique: state.technique, source: [state.clip.path], output: state.output || defaultOutput(),
    style: state.styles.map((s) => blend && s.weight !== 1 ? `${s.path}=${s.weight}` : s.path),
    ...givenOptions(),
  };
  if (blend && values.style.some((s, i) => s !== state.styles[i].path)) {
    values.style = state.styles.map((s) => `${s.path}=${s.weight}`);
  }
  if (uses("mask")) {
    values.mask = state.styles.map((s) => `layer:${s.mask}`);
    if (state.styles.some((s) => !painted[s.mask])) return "Paint a mask for each style.";
  }
  const mapped = uses("map") && painted[state.map];
  if (needs("map") && !mapped) return "Paint a map of the frame.";
  if (mapped || (needs("style_map") && !uses("map"))) {
    if (state.styles.some((s) => !painted[s.map])) return "Paint the map of each style picture too.";
    if (mapped) values.map = `layer:${state.map}`;
    values.style_map = state.styles.map((s) => `still:${s.map}`);
  }
  return values;
}

export function defaultOutput() {
  const { path, kind, name } = state.clip;
  const stem = name.replace(/\.[^.]+$/, "");
  const inside = path.startsWith(`${facts.start}/`) && !path.includes("/vidstyle-studio/");
  const folder = inside ? path.slice(0, path.length - name.length - 1) : facts.start;
  const own = name.match(/\.(mp4|mov|mkv|webm|gif)$/i)?.[0].toLowerCase();
  const suffix = kind === "photos" ? "" : kind === "picture" ? ".png" : own ?? ".mp4";
  return `${folder}/${stem}-${state.technique}${suffix}`;
}
