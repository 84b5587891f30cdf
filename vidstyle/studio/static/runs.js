// Previews of one frame, and the queue of jobs.
import { bitmap, eventsOf, get, post, postJson, tried } from "./api.js";
import { byId, el, seconds } from "./dom.js";
import { drawing, painted } from "./masks.js";
import { PANELS, refresh } from "./panels.js";
import { seek, showResult } from "./player.js";
import { change, defaultOutput, request, state } from "./state.js";
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
    el("img", { src: shot.url, alt: `Preview of frame ${shot.index + 1}, ${shot.text}`, onclick: () => showShot(shot) }),
    el("figcaption", {}, el("span", { class: "grow" }, `Frame ${shot.index + 1} · ${shot.text}`),
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
  setView("preview");
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
  byId("views").replaceChildren(...all.map(([name, text]) => el("button", {
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
  return [
    el("h2", {}, "Run the whole clip"),
    el("div", { id: "plan" }),
    el("div", { class: "row" }, output),
    ready ? null : el("p", { class: "muted" }, values),
    el("p", {}, el("button", { type: "button", class: "main", id: "run", disabled: !ready, onclick: addJob }, "Add to the queue")),
    el("h2", {}, "Queue"),
    el("div", { id: "queue" }, ...queueItems()),
  ];
}

const addJob = tried(async () => {
  const values = request(painted());
  if (typeof values === "string") throw new Error(values);
  await drawing.saving;
  await postJson("/api/jobs", values);
  change({ output: "" });
});

function queueItems() {
  return jobs.length ? [...jobs].reverse().map(jobBox) : [el("p", { class: "muted" }, "No job yet.")];
}

function jobBox(job) {
  const p = job.progress;
  const running = job.state === "running";
  const act = (name, text) => el("button", { type: "button", "data-action": name,
    onclick: tried(() => post(`/api/jobs/${job.id}/${name}`)) }, text);
  const facts = [p.of ? `${p.finished} of ${p.of} frames` : "", running && p.seconds_left !== null ? `${seconds(p.seconds_left)} left` : "",
    running && p.loss ? `loss ${p.loss.toFixed(3)}` : "", ...Object.entries(p.losses ?? {}).map(([n, v]) => `${n} ${v.toFixed(3)}`)];
  const done = job.state === "done";
  return el("div", { class: "job", "data-job": job.id, "data-state": job.state },
    el("div", { class: "row" }, el("b", { title: job.output }, job.output.split("/").pop()), el("span", { class: "grow" }),
      el("span", { class: `state ${job.state}` }, job.stopping ? "stopping" : job.state)),
    p.of ? el("progress", { max: p.of, value: done ? p.of : p.finished, "aria-label": "Progress" }) : null,
    el("small", { class: "muted" }, facts.filter(Boolean).join(" · ")),
    job.message ? el("p", { class: "error" }, job.message) : null,
    running && p.latest_frame ? el("img", { src: `/api/jobs/${job.id}/latest?n=${p.finished}`, alt: "The latest frame" }) : null,
    el("div", { class: "row" },
      ...(running || job.state === "queued" ? [act("pause", "Pause"), act("cancel", "Cancel")] : []),
      ...(["paused", "failed", "cancelled"].includes(job.state) ? [act("resume", "Resume"), act("remove", "Remove")] : []),
      ...(done ? [el("button", { type: "button", "data-action": "compare", onclick: () => compare(job) }, "Compare"),
        el("button", { type: "button", onclick: () => open(`/api/jobs/${job.id}/report`, "_blank", "noopener") }, "Report"),
        el("button", { type: "button", "data-action": "download", onclick: () => el("a", { href: `/api/jobs/${job.id}/download`, download: "" }).click() }, "Download"),
        act("remove", "Remove")] : [])));
}

const compare = tried(async (job) => {
  const [found, { first }] = await Promise.all([
    postJson("/api/open", { path: String(job.output) }), get(`/api/jobs/${job.id}/first`)]);
  change({ result: { path: found.path, frames: found.frames, first } });
  setView("result");
  await seek(state.index);
});

export function watchJobs() {
  const source = new EventSource("/api/jobs/events");
  source.onmessage = ({ data }) => {
    const one = JSON.parse(data);
    if (!one.jobs) return;
    const text = JSON.stringify(one.jobs);
    if (text === watchJobs.last) return;
    watchJobs.last = text;
    jobs = one.jobs;
    byId("queue")?.replaceChildren(...queueItems());
  };
  get("/api/jobs").then((one) => { jobs = one.jobs; byId("queue")?.replaceChildren(...queueItems()); });
}

PANELS.preview = ["Preview", previewPanel];
PANELS.run = ["Run", runPanel];
