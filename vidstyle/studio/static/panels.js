// The panels beside the picture: open, style, where, settings.
import { blob, get, pictureUrl, postJson, tried, upload } from "./api.js";
import { byId, bytes, el, fill, fillIf, seconds } from "./dom.js";
import { deleteKey, drawing, drawTools, exportPng, importPng, layerOf, layers, loadLayers, painted,
  showDrawings, styleDrawing, track } from "./masks.js";
import { change, defaultOutput, facts, needs, newId, onChange, request, state, technique, uses } from "./state.js";
import { openClip } from "./player.js";

const label = (path) => path.split("/").pop();

// Open.
export function openPanel() {
  const list = el("ul", { class: "files", "aria-label": "Files" });
  const path = el("input", { type: "text", id: "path", placeholder: "Path of a clip, picture or folder", "aria-label": "Path",
    oninput: () => { path.dataset.typed = "yes"; } });
  path.style.flex = "1";
  const show = tried(async (folder) => {
    if (folder) delete path.dataset.typed;
    const found = await get("/api/files", folder ? { path: folder } : {});
    if (!path.dataset.typed) path.value = found.path;
    const rows = found.entries.map((one) => el("li", {}, el("button", {
      type: "button", onclick: () => (one.folder ? show(one.path) : openClip(one.path)) },
    one.folder ? `${one.name}/` : one.name)));
    if (found.parent) rows.unshift(el("li", {}, el("button", { type: "button", onclick: () => show(found.parent) }, "↑ up")));
    if (found.pictures) {
      const count = `${found.pictures} picture${found.pictures === 1 ? "" : "s"}`;
      const open = (id, text, options) => el("li", {}, el("button", {
        type: "button", id, onclick: () => openClip(found.path, options) }, text));
      rows.unshift(open("open-folder", `Open this folder: ${count}`),
        open("open-frames", "Open this folder as the frames of a video", { asFrames: true }));
    }
    list.replaceChildren(...rows);
  });
  show();
  return [
    el("h2", {}, "Open a clip"),
    el("p", { class: "muted" }, "A video, a GIF, a photo or a folder of photos; or drop it on the picture."),
    el("form", { class: "row", onsubmit: (event) => { event.preventDefault(); delete path.dataset.typed; openClip(path.value); } }, path,
      el("button", { class: "main" }, "Open")),
    list,
    el("h2", {}, "Samples"),
    el("div", { class: "row" }, ...(facts.samples.sources ?? []).map((one) => el("button", {
      type: "button", onclick: () => openClip(one) }, label(one)))),
    state.clip ? clipFacts() : null,
  ];
}

// What the stage shows before a clip is open.
function welcome() {
  const sample = facts.samples.sources?.[0];
  return [
    el("strong", {}, "Drop a video, a photo or a folder here"),
    el("span", { class: "muted" }, "or choose one from the list"),
    sample ? el("button", { type: "button", class: "main", id: "open-sample", onclick: () => openClip(sample) },
      "Try the sample clip") : null,
  ].filter(Boolean);
}

function clipFacts() {
  const { width, height, frames, rate, kind } = state.clip;
  return el("p", { class: "muted" }, `${kind}, ${width} × ${height}, ${frames} frame${frames === 1 ? "" : "s"}` +
    `${rate ? `, ${Math.round(rate * 100) / 100} a second` : ""}`);
}

// Style.
export function addStyle(path) {
  state.styles.push({ path, weight: 1, mask: newId("mask"), map: newId("style-map") });
  change({ active: state.styles.length - 1 });
  refresh();
}

export const dropStyles = tried(async (files) => {
  for (const file of files) {
    const path = await upload(file);
    await blob("/api/picture", { path, side: 64 }); // or a sentence
    addStyle(path);
  }
});

export function stylePanel() {
  const choose = () => { const input = byId("file"); input.onchange = () => dropStyles([...input.files]); input.value = ""; input.click(); };
  return [
    el("h2", {}, "Style pictures"),
    ...state.styles.map(styleItem),
    el("button", { type: "button", class: "main", onclick: choose }, "Add a picture…"),
    el("h2", {}, "Samples"),
    el("div", { class: "thumbs" }, ...(facts.samples.styles ?? []).map((path) => el("button", {
      type: "button", "aria-label": `Use the sample ${label(path)}`, onclick: () => addStyle(path) },
    el("img", { src: pictureUrl(path), alt: "" })))),
    el("h2", {}, "Technique"),
    el("div", { class: "cards", role: "radiogroup", "aria-label": "Technique" }, ...facts.techniques.map(card)),
  ];
}

function styleItem(style, index) {
  const blend = state.technique !== "mask" && state.styles.length > 1;
  const shown = el("span", { class: "muted" }, `weight ${style.weight}`);
  const weight = el("input", { type: "range", min: 0.05, max: 1, step: 0.05, value: style.weight,
    "aria-label": `Weight of ${label(style.path)}`,
    oninput: (event) => {
      style.weight = Number(event.target.value);
      shown.textContent = `weight ${style.weight}`;
      change();
    } });
  return el("div", { class: `item ${index === state.active ? "active" : ""}` },
    el("img", { src: pictureUrl(style.path), alt: "" }),
    el("div", {}, el("div", { class: "name", title: style.path }, label(style.path), blend ? shown : null), blend ? weight : null),
    el("button", { type: "button", "aria-label": `Remove ${label(style.path)}`, onclick: () => {
      state.styles.splice(index, 1);
      change({ active: Math.max(0, Math.min(state.active, state.styles.length - 1)) });
      refresh();
    } }, "×"));
}

function card(one) {
  const picture = facts.samples.gallery?.[one.name];
  return el("button", { type: "button", class: "card", role: "radio", "data-technique": one.name,
    "aria-checked": String(one.name === state.technique),
    onclick: () => { change({ technique: one.name, output: "" }); refresh(); } },
  picture ? el("img", { src: pictureUrl(picture, 320), alt: "" }) : null,
  el("span", {}, el("b", {}, one.name), one.summary));
}

// Where.
export function wherePanel() {
  if (!state.clip) return [el("p", {}, "Open a clip first.")];
  if (!(uses("mask") || uses("map") || uses("style_map"))) {
    return [el("h2", {}, "Where the style goes"),
      el("p", {}, `${state.technique} stylises the whole frame.`),
      el("div", { class: "row" },
        el("button", { type: "button", class: "main", id: "use-mask",
          onclick: () => { change({ technique: "mask", output: "" }); refresh(); } }, "Only where I paint (mask)"),
        el("button", { type: "button",
          onclick: () => { change({ technique: "region", output: "" }); refresh(); } }, "A style for each region"))];
  }
  if (!state.styles.length) return [el("p", {}, "Choose a style picture first: each has its own layer.")];
  const map = !uses("mask");
  const act = (text, action, id) => el("button", { type: "button", onclick: action, id }, text);
  return [
    el("h2", {}, map ? "Map of the frame and of each style" : "A mask for each style"),
    el("p", { class: "muted" }, map
      ? "Paint regions in the frame and the same labels in the style picture beside it."
      : "Paint where the style goes. Painting on any frame makes it a key frame."),
    el("p", { id: "hint", class: "hint" }),
    ...state.styles.map((style, index) => el("button", {
      type: "button", class: `item ${index === state.active ? "active" : ""}`, "aria-pressed": String(index === state.active),
      onclick: () => { change({ active: index }); refresh(); } },
    el("img", { src: pictureUrl(style.path), alt: "" }),
    el("span", { class: "name" }, label(style.path)),
    el("small", { class: "muted", "data-keys": map ? style.map : style.mask }, keysText(map ? style.map : style.mask)))),
    map ? null : el("div", { class: "row" },
      act("Select the subject", tried(() => drawing.select({ subject: true })), "subject")),
    el("h2", {}, "Through time"),
    el("p", { class: "muted" }, "Now: ", el("span", { "data-keys": layerOf() }, keysText(layerOf())),
      ". Key frames are carried along the motion to all frames."),
    el("div", { class: "row" },
      act("Track to all frames", startTracking, "track"),
      act("Delete this key frame", async () => { await deleteKey(); refresh(); })),
    el("div", { id: "tracking", hidden: true }, el("progress", { id: "tracked", max: 1, value: 0, "aria-label": "Tracking" }),
      el("button", { type: "button", id: "stop-track" }, "Cancel")),
    el("h2", {}, "PNG files"),
    files(drawing, map ? "Map of the frame" : ""),
    map ? files(styleDrawing, "Map of the style picture") : null,
  ];
}

// The buttons that read and write a drawing.
function files(of, name) {
  const choose = () => { const input = byId("file"); input.onchange = () => importPng(of, input.files[0]); input.value = ""; input.click(); };
  const act = (text, action) => el("button", { type: "button", "aria-label": name && `${text} the ${name.toLowerCase()}`, onclick: action }, text);
  return el("div", { class: "row" }, name ? el("span", { class: "grow" }, name) : null,
    act("Import…", choose), act("Export", () => exportPng(of)));
}

function keysText(layer) {
  const one = layers[layer];
  if (!one?.keys.length) return "not painted";
  const keys = `${one.keys.length} key frame${one.keys.length === 1 ? "" : "s"}`;
  return one.tracked ? `${keys}, tracked` : keys;
}

onChange(() => {
  for (const box of document.querySelectorAll("[data-keys]")) box.textContent = keysText(box.dataset.keys);
});

async function startTracking() {
  const progress = { show: (one) => {
    if (byId("tracked") && one.of) byId("tracked").value = (one.done ?? (one.index ?? 0) + 1) / one.of;
  } };
  byId("tracking").hidden = false;
  byId("track").disabled = true;
  byId("stop-track").onclick = () => progress.cancel?.();
  await track(progress);
  refresh();
}

// Settings.
export function settingsPanel() {
  const groups = new Map();
  for (const one of [...(technique()?.options ?? []), ...facts.settings]) {
    groups.set(one.group, [...(groups.get(one.group) ?? []), one]);
  }
  return [
    el("h2", {}, "Settings"),
    el("div", { id: "plan" }),
    ...[...groups].map(([name, all], index) => el("details", { open: index === 0 || name === "Look" },
      el("summary", {}, name), ...all.filter((one) => !["overwrite", "restart"].includes(one.name)).map(option))),
  ];
}

function option(one) {
  const value = state.options[one.name] ?? one.default;
  const id = `option-${one.name}`;
  const set = (next) => {
    if (next === undefined || next === "" || JSON.stringify(next) === JSON.stringify(one.default)) delete state.options[one.name];
    else state.options[one.name] = next;
    box.classList.toggle("changed", one.name in state.options);
    change();
  };
  const box = el("div", { class: `option ${one.name in state.options ? "changed" : ""}` },
    el("div", { class: "row" }, el("label", { for: id }, one.name.replaceAll("_", " ")), field(one, id, value, set)),
    el("small", {}, `${one.meaning}${one.unit ? ` (${one.unit})` : ""}`));
  return box;
}

function field(one, id, value, set) {
  if (one.kind === "flag") {
    return el("input", { id, type: "checkbox", checked: Boolean(value), onchange: (e) => set(e.target.checked) });
  }
  if (one.words.length && one.kind === "text") {
    const select = el("select", { id, onchange: (e) => set(e.target.value) },
      ...(one.default === null ? [""] : []).concat(one.words).map((word) => el("option", { value: word }, word || "default")));
    select.value = value ?? "";
    return select;
  }
  if (one.kind === "list") {
    return el("input", { id, type: "text", value: value.join(", "), onchange: (e) => set(e.target.value.split(/[\s,]+/).filter(Boolean)) });
  }
  if (one.kind === "number" && !one.words.length) {
    return el("input", { id, type: "number", min: one.low ?? "", max: one.high ?? "", step: one.whole ? 1 : "any",
      value: value ?? "", placeholder: "default", onchange: (e) => set(e.target.value === "" ? "" : Number(e.target.value)) });
  }
  const listed = one.words.length ? `${id}-words` : null;
  return el("span", {}, el("input", { id, type: "text", value: value ?? "", placeholder: "default",
    "aria-description": one.words.join(" or "), onchange: (e) => {
      const text = e.target.value.trim();
      set(text !== "" && !Number.isNaN(Number(text)) && one.kind === "number" ? Number(text) : text);
    } }), listed ? el("small", {}, `or ${one.words.join(", ")}`) : null);
}

// One plan is requested at a time: the newest request, and only if it is another one.
const planned = { key: "", box: null, busy: false };
export const showPlan = tried(async () => {
  const box = byId("plan");
  if (!box) return;
  const values = request(painted());
  if (typeof values === "string") { box.replaceChildren(el("p", { class: "muted" }, values)); return; }
  const key = JSON.stringify(values);
  if (key === planned.key) { box.replaceChildren(planned.box); return; }
  box.replaceChildren(el("p", { class: "muted" }, "Planning…"));
  if (planned.busy) return;
  planned.busy = true;
  try { planned.box = planBox(await postJson("/api/plan", values)); } catch (error) {
    planned.box = el("p", { class: "error" }, error.message);
  }
  Object.assign(planned, { key, busy: false });
  await showPlan();
});

function planBox(plan) {
  return el("div", { class: "plan", "aria-label": "What it would take" },
    ...[[plan.frames, "frames"], [`${plan.width}×${plan.height}`, "pixels"], [`≈ ${seconds(plan.seconds)}`, "time"],
      [bytes(plan.bytes), "disk"]].map(([value, name]) => el("div", {}, el("b", {}, String(value)), el("small", {}, name))));
}

// The panels by name; other modules add more.
export const PANELS = { open: ["Open", openPanel], style: ["Style", stylePanel], where: ["Where", wherePanel], settings: ["Settings", settingsPanel] };

export const refresh = tried(async () => {
  if (state.clip) await loadLayers();
  fill(byId("tabs"), ...Object.entries(PANELS).map(([name, [text]], index) => el("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-selected": String(state.tab === name), "aria-controls": "panels",
    onclick: () => showTab(name) }, el("b", { "aria-hidden": "true", "data-step": name }, String(index + 1)), text)));
  const box = byId("panels");
  box.setAttribute("role", "tabpanel");
  box.setAttribute("aria-labelledby", `tab-${state.tab}`);
  fill(box, ...PANELS[state.tab][1]().filter(Boolean));
  byId("welcome").hidden = Boolean(state.clip);
  byId("welcome").replaceChildren(...welcome());
  showNext();
  await showDrawings();
  drawTools();
  showPlan();
});

// The panel that is shown is left as it is: a button in it may be being pressed.
const showTab = (name) => { if (name !== state.tab) { change({ tab: name }); refresh(); } };

const isComplete = () => typeof request(painted()) !== "string";

// The step after the present one, once what it needs is there.
const NEXT = {
  open: ["style", "Next: choose a style", () => state.clip],
  style: ["where", "Next: where it goes", () => state.styles.length],
  where: ["settings", "Next: settings", isComplete],
  settings: ["preview", "Next: preview a frame", isComplete],
  preview: ["run", "Next: run the whole clip", () => state.shot],
};
function showNext() {
  const [to, text, ready] = NEXT[state.tab] ?? [];
  const shown = Boolean(to && ready());
  byId("next").hidden = !shown;
  fillIf(byId("next"), [to], () => (to ? [el("button", {
    type: "button", class: "main", id: "go-on", onclick: () => showTab(to) }, `${text} →`)] : []));
  const done = { open: state.clip, style: state.styles.length, where: isComplete(), preview: state.shot };
  for (const mark of document.querySelectorAll("[data-step]")) mark.classList.toggle("done", Boolean(done[mark.dataset.step]));
}
onChange(showNext);

export { defaultOutput, needs };
