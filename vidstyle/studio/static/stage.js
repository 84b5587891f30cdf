// The picture: zoom, pan, the mask over it, before and after, and painting with mouse, pen or touch.
import { byId } from "./dom.js";

export class Stage {
  // painter: {tool, down(x, y, pressure), move(…), up(), size} in pixels of the plane, or null.
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    Object.assign(this, {
      source: null, result: null, split: 0.5, overlay: null, opacity: 0.55, painter: null,
      zoom: 1, x: 0, y: 0, pointers: new Map(), cursor: null, moving: null, pen: false,
    });
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (e) => this.up(e));
    canvas.addEventListener("pointerleave", () => { this.cursor = null; this.draw(); });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  resize() {
    const scale = window.devicePixelRatio || 1;
    const { width, height } = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(width * scale));
    this.canvas.height = Math.max(1, Math.round(height * scale));
    this.draw();
  }

  get size() { return this.source ? [this.source.width, this.source.height] : [16, 9]; }

  // CSS pixels of one picture pixel, and where its corner is.
  get place() {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    const [pw, ph] = this.size;
    const scale = Math.min((w - 16) / pw, (h - 16) / ph) * this.zoom;
    return { scale, left: (w - pw * scale) / 2 + this.x, top: (h - ph * scale) / 2 + this.y };
  }

  // Return the position of an event as shares 0..1 of the picture.
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const { scale, left, top } = this.place;
    const [pw, ph] = this.size;
    return [(event.clientX - box.left - left) / scale / pw, (event.clientY - box.top - top) / scale / ph];
  }

  zoomBy(factor, event = null) {
    const before = event ? this.at(event) : [0.5, 0.5];
    this.zoom = Math.min(32, Math.max(0.25, this.zoom * factor));
    if (event) this.keep(before, event);
    this.draw();
  }

  // Move so that a share of the picture lies under the event.
  keep(share, event) {
    const now = this.at(event);
    const { scale } = this.place;
    this.x += (now[0] - share[0]) * scale * this.size[0];
    this.y += (now[1] - share[1]) * scale * this.size[1];
  }

  fit() { Object.assign(this, { zoom: 1, x: 0, y: 0 }); this.draw(); }

  wheel(event) { event.preventDefault(); this.zoomBy(Math.exp(-event.deltaY / 400), event); }

  down(event) {
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    if (event.pointerType === "pen") this.pen = true;
    this.pointers.set(event.pointerId, event);
    if (this.pointers.size === 2) { this.painter?.drop?.(); this.painting = false; this.pinch = this.spread(); return; }
    if (event.button === 1 || event.button === 2 || !this.painter) {
      this.moving = [event.clientX, event.clientY];
    } else if (!(this.pen && event.pointerType === "touch")) { // the palm beside a pen
      this.painting = true;
      this.painter.down(...this.at(event), pressureOf(event), event);
    }
  }

  move(event) {
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, event);
    this.cursor = event;
    if (this.pointers.size === 2 && this.pinch) this.pinched();
    else if (this.moving) {
      this.x += event.clientX - this.moving[0];
      this.y += event.clientY - this.moving[1];
      this.moving = [event.clientX, event.clientY];
    } else if (this.painting) {
      const steps = event.getCoalescedEvents?.() ?? [];
      for (const one of steps.length ? steps : [event]) this.painter.move(...this.at(one), pressureOf(one));
    }
    this.draw();
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (this.painting) this.painter?.up();
    Object.assign(this, { painting: false, moving: null, pinch: null });
  }

  spread() {
    const [a, b] = [...this.pointers.values()];
    const middle = { clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
    return { far: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), share: this.at(middle), middle };
  }

  pinched() {
    const now = this.spread();
    this.zoom = Math.min(32, Math.max(0.25, (this.zoom * now.far) / Math.max(1, this.pinch.far)));
    this.keep(this.pinch.share, now.middle);
    this.pinch = { ...now, share: this.pinch.share };
  }

  draw() {
    cancelAnimationFrame(this.pending);
    this.pending = requestAnimationFrame(() => this.paint());
  }

  paint() {
    const { context: c, canvas } = this;
    const dpr = window.devicePixelRatio || 1;
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.source) return;
    const { scale, left, top } = this.place;
    const [w, h] = [this.size[0] * scale, this.size[1] * scale];
    c.setTransform(dpr, 0, 0, dpr, left * dpr, top * dpr);
    c.imageSmoothingEnabled = scale < 3;
    c.imageSmoothingQuality = "high";
    c.drawImage(this.source, 0, 0, w, h);
    if (this.result) this.paintResult(c, w, h);
    if (this.overlay) {
      c.globalAlpha = this.opacity;
      c.drawImage(this.overlay, 0, 0, w, h);
      c.globalAlpha = 1;
    }
    this.paintCursor(c, dpr, scale);
  }

  paintResult(c, w, h) {
    const at = w * this.split;
    c.save();
    c.beginPath();
    c.rect(at, 0, w - at, h);
    c.clip();
    c.drawImage(this.result, 0, 0, w, h);
    c.restore();
    c.fillStyle = "#fff";
    c.fillRect(at - 1, 0, 2, h);
  }

  paintCursor(c, dpr, scale) {
    if (!this.painter?.size || !this.cursor || this.cursor.pointerType === "touch") return;
    const box = this.canvas.getBoundingClientRect();
    c.setTransform(dpr, 0, 0, dpr, 0, 0);
    c.beginPath();
    const radius = (this.painter.size / 2) * scale * (this.size[0] / this.painter.width);
    c.arc(this.cursor.clientX - box.left, this.cursor.clientY - box.top, Math.max(1, radius), 0, 7);
    c.lineWidth = 3; c.strokeStyle = "#000a"; c.stroke();
    c.lineWidth = 1.5; c.strokeStyle = "#fff"; c.stroke();
  }
}

const pressureOf = (event) => (event.pointerType === "pen" ? event.pressure : 1);

export const stage = new Stage(byId("view"));
export const styleStage = new Stage(byId("style-view"));
