// Previews of one frame, and the queue of jobs.
import { bitmap, eventsOf, get, post, postJson, tell, tried } from "./api.js";
import { byId, el, fill, fillIf, seconds } from "./dom.js";
import { drawing, painted } from "./masks.js";
import { PANELS, refresh } from "./panels.js";
import { forgetFrames, openClip, seek, showResult } from "./player.js";
import { change, defaultOutput, onChange, request, state } from "./state.js";
import { stage } from "./stage.js";

const shots = []; // {index, image, url, text, done}
let going = null; // AbortController of the preview at work
const live = { text: "", share: 0 };

// Preview.
function previewPanel() {
  return [
    el("h2", {}, "Preview this frame"),
    el("div", { class: "row" },
      el("label", {}, "Size ", el("select", { id: "preview-size", onchange: (e) => change({ previewSize: Number(e.target.value) }) },
        ...[64, 128, 256, 512].map((n) => el("option", { value: n, selected: n === state.previewSize }, String(n))))),
      el("button", { type: "button", class: "main", id: "preview", disabled: Boolean(going), onclick: preview }, "Preview (P)"),
      el("button", { type: "button", id: "cancel-preview", disabled: !going, onclick: cancelPreview }, "Cancel (Esc)")),
    el("div", { id: "live", role: "status" }, live.text, going ? el("progress", { max: 1, value: live.share }) : null),
    el("p", { class: "muted" }, "Every preview is kept here: click one to compare it with the frame."),
    el("div", { class: "shots" }, ...shots.map(shotFigure)),
  ];
}

function shotFigure(shot) {
  return el("figure", { class: shot === state.shot ? "active" : "" },
    el("img", { src: shot.url, alt: `Preview of frame ${shot.index}, ${shot.text}`, onclick: () => showShot(shot) }),
    el("figcaption", {}, el("span", { class: "grow" }, `Frame ${shot.index} · ${shot.text}`),
      el("button", { type: "button", "aria-label": "Remove this preview", onclick: () => {
        shots.splice(shots.indexOf(shot), 1);
        if (state.shot === shot) state.shot = null;
        showResult(); refresh();
      } }, "×")));
}

async function showShot(shot) {
  state.shot = shot;
  setView("preview");
  if (shot.index !== state.index) await seek(shot.index);
  await showResult();
  if (state.tab === "preview") refresh();
}

export function cancelPreview() { going?.abort(); }

export const preview = tried(async () => {
  cancelPreview();
  const values = request(painted());
  if (typeof values === "string") throw new Error(values);
  await drawing.saving;
  const mine = (going = new AbortController());
  const size = state.previewSize;
  const shot = { index: state.index, text: describe(values, size) };
  live.text = "Starting: the first preview loads the network…";
  live.share = 0;
  change({ tab: "preview" });
  await refresh();
  try {
    const response = await post("/api/preview", { index: shot.index, values: { ...values, size } }, mine.signal);
    for await (const one of eventsOf(response)) await showEvent(shot, one);
    if (shot.done) { shots.unshift(shot); }
  } finally {
    if (going === mine) going = null;
    if (!shot.done) { live.text = mine.signal.aborted ? "Cancelled." : live.text; }
    if (state.tab === "preview") refresh();
  }
});

// Prepare a preview with the present settings while the user is still busy with them.
const ahead = { key: "", timer: 0, busy: false };
onChange(() => {
  clearTimeout(ahead.timer);
  if (["where", "settings", "preview"].includes(state.tab)) ahead.timer = setTimeout(prepare, 1500);
});
async function prepare() {
  const values = request(painted());
  if (typeof values === "string" || going || ahead.busy || jobs.some((job) => job.state === "running")) return;
  const { output, mask, map, ...kept } = { ...values, size: state.previewSize };
  const key = JSON.stringify(kept);
  if (key === ahead.key) return;
  Object.assign(ahead, { key, busy: true });
  try {
    await drawing.saving;
    await post("/api/warm", { index: state.index, values: { ...values, size: state.previewSize } });
  } catch { /* the preview says what is wrong */ } finally { ahead.busy = false; }
}

async function showEvent(shot, one) {
  if (one.message) live.text = one.message;
  if (one.event === "weights") live.text = `Fetching the network: ${Math.round((100 * one.received) / one.total)} %`;
  if (!one.jpeg) return;
  const data = Uint8Array.from(atob(one.jpeg), (char) => char.charCodeAt(0));
  const file = new Blob([data], { type: "image/jpeg" });
  shot.image = await bitmap(file);
  shot.live = (shot.live ?? 0) + 1;
  if (one.done) {
    shot.done = true;
    shot.url = URL.createObjectURL(file);
    live.text = `Done in ${one.seconds} s`;
  } else {
    live.text = `Evaluation ${one.evaluation}, loss ${one.loss.toFixed(3)}`;
    live.share = Math.min(1, one.evaluation / one.of);
  }
  state.shot = shot;
  if (shot.live === 1) setView("preview"); // later the user may look at something else
  else drawViews();
  await showResult();
  stage.canvas.dataset.live = shot.live;
  const box = byId("live");
  if (box) box.replaceChildren(live.text, el("progress", { max: 1, value: live.share }));
}

function describe(values, size) {
  const known = new Set(["technique", "source", "output", "style", "mask", "map", "style_map", "size"]);
  const options = Object.entries(values).filter(([name]) => !known.has(name)).map(([name, value]) => `${name} ${value}`);
  return [values.technique, `${size} px`, ...options].join(", ");
}

// What the picture shows.
export function setView(view) {
  change({ view });
  drawViews();
}
export function drawViews() {
  const all = [["source", "Source"], ["preview", "Preview"], ["result", "Result"]];
  fillIf(byId("views"), [state.view, Boolean(state.shot), Boolean(state.result)], () => all.map(([name, text]) => el("button", {
    type: "button", role: "radio", "aria-checked": String(state.view === name), "data-view": name,
    disabled: (name === "preview" && !state.shot) || (name === "result" && !state.result),
    onclick: () => { setView(name); showResult(); } }, text)));
}

// Run.
let jobs = [];
function runPanel() {
  const values = request(painted());
  const ready = typeof values !== "string";
  const output = el("input", { type: "text", id: "output", value: state.output || (state.clip ? defaultOutput() : ""),
    "aria-label": "Result file", onchange: (event) => change({ output: event.target.value.trim() }) });
  output.style.flex = "1";
  requestAnimationFrame(() => { output.scrollLeft = output.scrollWidth; }); // its name, not its first folder
  return [
    el("h2", {}, "Run the whole clip"),
    el("div", { id: "plan" }),
    el("div", { class: "row" }, el("label", { for: "output" }, "Save as"), output),
    el("p", {}, el("button", { type: "button", class: "main", id: "run", disabled: !ready, onclick: addJob }, "Add to the queue")),
    el("h2", {}, "Queue"),
    el("div", { id: "queue" }, ...queueBoxes()),
  ];
}

const addJob = tried(async () => {
  const values = request(painted());
  if (typeof values === "string") throw new Error(values);
  await drawing.saving;
  await postJson("/api/jobs", values);
  change({ output: "" });
});

// The boxes of the queue are kept and changed: a button that is being pressed must not be replaced.
const boxes = new Map(); // id → element
const measuring = new Set(); // ids of jobs whose report is being made
function queueBoxes() {
  for (const id of boxes.keys()) if (!jobs.some((job) => job.id === id)) boxes.delete(id);
  if (!jobs.length) return [el("p", { class: "muted" }, "No job yet.")];
  return [...jobs].reverse().map(jobBox);
}

function showQueue() {
  const box = byId("queue");
  if (!box) return;
  const made = queueBoxes();
  if (made.length !== box.children.length || made.some((one, i) => one !== box.children[i])) fill(box, ...made);
}

function jobBox(job) {
  const { id, progress: p } = job;
  const box = boxes.get(id) ?? el("div", { class: "job", "data-job": id });
  boxes.set(id, box);
  box.dataset.state = job.state;
  const running = job.state === "running";
  fillIf(box, [job.state, job.stopping, job.message, measuring.has(id)], () => jobParts(job));
  const facts = [running && !p.of ? "Starting…" : "", p.of ? `${p.finished} of ${p.of} frames` : "", running && p.seconds_left !== null ? `${seconds(p.seconds_left)} left` : "",
    running && p.loss ? `loss ${p.loss.toFixed(3)}` : "", ...Object.entries(p.losses ?? {}).map(([n, v]) => `${n} ${v.toFixed(3)}`)];
  box.querySelector(".facts").textContent = facts.filter(Boolean).join(" · ");
  const bar = box.querySelector("progress");
  Object.assign(bar, { hidden: !p.of, max: p.of || 1, value: job.state === "done" ? p.of : p.finished });
  const image = box.querySelector("img");
  const latest = `/api/jobs/${id}/latest?n=${p.finished}`;
  image.hidden = !(running && p.latest_frame);
  if (!image.hidden && image.getAttribute("src") !== latest) image.src = latest;
  return box;
}

function jobParts(job) {
  const running = job.state === "running", done = job.state === "done";
  const act = (name, text) => el("button", { type: "button", "data-action": name,
    onclick: tried(() => post(`/api/jobs/${job.id}/${name}`)) }, text);
  const button = (name, text, onclick, disabled = false) => el("button", { type: "button", "data-action": name, disabled, onclick }, text);
  const busy = measuring.has(job.id);
  return [
    el("div", { class: "row" }, el("b", { title: job.output }, job.output.split("/").pop()), el("span", { class: "grow" }),
      el("span", { class: `state ${job.state}` }, job.stopping ? "stopping" : job.state)),
    el("progress", { "aria-label": "Progress" }),
    el("small", { class: "muted facts" }),
    job.message ? el("p", { class: "error" }, job.message) : null,
    el("img", { alt: "The latest frame" }),
    el("div", { class: "row" },
      ...(running || job.state === "queued" ? [act("pause", "Pause"), act("cancel", "Cancel")] : []),
      ...(["paused", "failed", "cancelled"].includes(job.state) ? [act("resume", "Resume"), act("remove", "Remove")] : []),
      ...(done ? [button("compare", "Compare", () => compare(job)), button("report", busy ? "Measuring…" : "Report", () => report(job), busy),
        button("download", "Download", () => el("a", { href: `/api/jobs/${job.id}/download`, download: "" }).click()),
        act("remove", "Remove")] : [])),
  ].filter(Boolean);
}

const compare = tried(async (job) => {
  const source = job.values.source[0];
  if (state.clip?.path !== source) await openClip(source, { asFrames: Boolean(job.values.rate) });
  if (state.clip?.path !== source) return;
  const [found, { first }] = await Promise.all([
    postJson("/api/open", { path: String(job.output) }), get(`/api/jobs/${job.id}/first`)]);
  forgetFrames(); // the file may be another one than before
  change({ result: { path: found.path, frames: found.frames, first } });
  setView("result");
  await seek(state.index);
});

// Measure a finished job, which takes a while the first time, and show the page.
const report = tried(async (job) => {
  const url = `/api/jobs/${job.id}/report`;
  measuring.add(job.id);
  showQueue();
  try { await get(url, {}, "text"); } finally { measuring.delete(job.id); showQueue(); }
  byId("report").querySelector("iframe").src = url;
  byId("report").showModal();
});

export function watchJobs() {
  const source = new EventSource("/api/jobs/events");
  source.onmessage = ({ data }) => {
    const one = JSON.parse(data);
    if (!one.jobs) return;
    jobs = one.jobs;
    showQueue();
  };
  source.onerror = () => get("/api/jobs").catch(tell); // a sentence if the studio was ended
  get("/api/jobs").then((one) => { jobs = one.jobs; showQueue(); }).catch(tell);
}

PANELS.preview = ["Preview", previewPanel];
PANELS.run = ["Run", runPanel];
