// The start of the page: state from the server, keyboard, command line, dropped files.
import { get, post, postJson, send, tell, tried } from "./api.js";
import { byId, el } from "./dom.js";
import { chooseTool, current, drawTools, painted, tool } from "./masks.js";
import { dropStyles, refresh, showPlan } from "./panels.js";
import { dropped, filesOf, openClip, play, showClip, step } from "./player.js";
import { cancelPreview, drawViews, preview, watchJobs } from "./runs.js";
import { change, facts, newId, onChange, request, state } from "./state.js";
import { stage, styleStage } from "./stage.js";

async function start() {
  history.replaceState(null, "", "/"); // the token stays in the cookie only
  Object.assign(facts, await get("/api/state"));
  const { shot, result, ...kept } = facts.project ?? {};
  Object.assign(state, kept);
  try { document.documentElement.dataset.theme = localStorage.theme ?? ""; } catch { /* no storage */ }
  state.map ||= newId("map");
  state.view = "source";
  drawViews();
  const again = state.clip && (!facts.opened || facts.opened === state.clip.path);
  if (again) await showClip().catch(tell);
  else if (facts.opened) await openClip(facts.opened);
  await refresh();
  watchJobs();
  post("/api/warm").catch(() => { /* the first preview says what is wrong */ });
  document.body.dataset.ready = "1";
}

// The command line and the job file of the settings of the page.
let described = { command: "", job: "" };
let requested = "";
let timer = 0;
async function describe() {
  const values = request(painted());
  if (typeof values === "string") { described = {}; requested = ""; byId("command").textContent = values; return; }
  if (JSON.stringify(values) === requested) return;
  requested = JSON.stringify(values);
  try {
    described = await postJson("/api/describe", values);
    byId("command").replaceChildren(...unbroken(described.command));
  } catch (error) { described = {}; requested = ""; byId("command").textContent = error.message; }
}
// The command line, whose options are not broken at their hyphens at the end of a line.
function unbroken(command) {
  const parts = command.split(/(--[\w-]+)/);
  return parts.map((part) => (part.startsWith("--") ? el("span", { className: "unbroken", textContent: part }) : part));
}
onChange(() => { drawViews(); drawTools(); clearTimeout(timer); timer = setTimeout(() => { describe(); showPlan(); }, 250); });

byId("copy").addEventListener("click", tried(async () => {
  await navigator.clipboard.writeText(byId("command").textContent);
  byId("saved").textContent = "Copied";
}));
byId("save-job").addEventListener("click", tried(async () => {
  await describe();
  if (!described.job) throw new Error(byId("command").textContent);
  const url = URL.createObjectURL(new Blob([described.job], { type: "application/toml" }));
  el("a", { href: url, download: "job.toml" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}));
byId("load-job").addEventListener("click", () => {
  const input = byId("file");
  input.onchange = () => loadJob(input.files[0]);
  input.value = "";
  input.click();
});

const loadJob = tried(async (file) => {
  const job = await send("POST", "/api/load", await file.text());
  const { technique, source, output, style, mask, map, style_map: styleMap, ...options } = job;
  await openClip(source[0]);
  const layerIn = (path, kind) => path?.match(/vidstyle-studio\/layers\/([a-z0-9-]+)\//)?.[1] ?? newId(kind);
  const styles = (style ?? []).map((text, i) => {
    const [, path, weight] = text.match(/^(.*?)(?:=([\d.]+))?$/);
    return { path, weight: Number(weight ?? 1), mask: layerIn(mask?.[i], "mask"), map: layerIn(styleMap?.[i], "style-map") };
  });
  change({ technique, output: output ?? "", styles, options, map: layerIn(map, "map"), active: 0, tab: "settings" });
  await refresh();
});

// Keyboard.
const KEYS = {
  " ": play, ArrowLeft: (e) => step(e.shiftKey ? -10 : -1), ArrowRight: (e) => step(e.shiftKey ? 10 : 1),
  "[": () => brush(1 / 1.25), "]": () => brush(1.25), "?": () => byId("keys").showModal(),
  "+": () => stage.zoomBy(1.25), "-": () => stage.zoomBy(0.8), 0: () => stage.fit(),
  b: () => chooseTool("brush"), e: () => chooseTool("eraser"), f: () => chooseTool("fill"),
  s: () => chooseTool("smart"), c: () => chooseTool("click"), p: preview, Escape: cancelPreview,
};
function brush(factor) { tool.size = Math.min(300, Math.max(1, tool.size * factor)); drawTools(); stage.draw(); }

document.addEventListener("keydown", (event) => {
  const inField = event.target.closest("input:not([type=range]):not([type=checkbox]), select, textarea, dialog");
  const onSlider = event.target.matches("input[type=range]:not(#scrub)") && event.key.startsWith("Arrow");
  if (inField || onSlider) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    if (event.shiftKey) current().redo(); else current().undo();
    return;
  }
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "y") { event.preventDefault(); current().redo(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inButton = event.target.closest("button, summary, input[type=checkbox]");
  if (event.key === " " && inButton) return; // space presses the button
  const action = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action(event);
});

byId("help").addEventListener("click", () => byId("keys").showModal());
byId("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
    (document.documentElement.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try { localStorage.theme = document.documentElement.dataset.theme; } catch { /* no storage */ }
});
byId("zoom-in").addEventListener("click", () => stage.zoomBy(1.25));
byId("zoom-out").addEventListener("click", () => stage.zoomBy(0.8));
byId("zoom-fit").addEventListener("click", () => { stage.fit(); styleStage.fit(); });

// Dropped files: a job file, style pictures on the Style panel, otherwise a source.
const ofStyles = (event) => state.tab === "style" && event.target.closest("aside");
function showDrop(shown, styles = false) {
  byId("drop").hidden = !shown || styles;
  byId("drop-styles").hidden = !shown || !styles;
}
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return; // a marked text, a picture of the page
  event.preventDefault();
  showDrop(true, Boolean(ofStyles(event)));
});
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) showDrop(false); });
document.addEventListener("drop", tried(async (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  showDrop(false);
  const styles = ofStyles(event);
  const found = await filesOf(event.dataTransfer);
  if (found.files[0]?.name.endsWith(".toml")) loadJob(found.files[0]);
  else if (styles) dropStyles(found.files);
  else dropped(found);
}));

start().catch(tell);
