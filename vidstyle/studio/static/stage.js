// The picture: zoom, pan, the mask over it, before and after, and painting with mouse, pen or touch.
import { byId } from "./dom.js";

export class Stage {
  // painter: {tool, down(x, y, pressure), move(…), up(), size} in pixels of the plane, or null.
  // result: compared with the source, right of `split` (share of the canvas) or beside it.
  // near: the source is another frame than the one that is painted on.
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    Object.assign(this, {
      source: null, near: false, result: null, split: 0.5, beside: false, onSplit: () => {}, scaled: new Map(),
      overlay: null, opacity: 0.55, painter: null,
      zoom: 1, x: 0, y: 0, pointers: new Map(), cursor: null, moving: null, sliding: false, pen: false,
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

  // CSS pixels of one picture pixel, and where its corner is. w, h: of the area of the source.
  get place() {
    const { clientHeight: h } = this.canvas;
    const w = this.canvas.clientWidth / (this.result && this.beside ? 2 : 1);
    const [pw, ph] = this.size;
    const scale = Math.min((w - 16) / pw, (h - 16) / ph) * this.zoom;
    return { scale, left: (w - pw * scale) / 2 + this.x, top: (h - ph * scale) / 2 + this.y, w, h };
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
    if (event.button === 0 && !this.painter && this.onLine(event)) {
      this.sliding = true;
    } else if (event.button === 1 || event.button === 2 || !this.painter || this.near) {
      this.moving = [event.clientX, event.clientY];
    } else if (!(this.pen && event.pointerType === "touch")) { // the palm beside a pen
      this.painting = true;
      this.painter.down(...this.at(event), pressureOf(event), event);
    }
  }

  move(event) {
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, event);
    this.cursor = event;
    this.canvas.style.cursor = !this.painter && this.onLine(event) ? "ew-resize" : "";
    if (this.pointers.size === 2 && this.pinch) this.pinched();
    else if (this.sliding) {
      this.split = Math.min(1, Math.max(0, this.shareOf(event)));
      this.onSplit(this.split);
    } else if (this.moving) {
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
    Object.assign(this, { painting: false, moving: null, sliding: false, pinch: null });
  }

  shareOf(event) {
    const { left, width } = this.canvas.getBoundingClientRect();
    return (event.clientX - left) / width;
  }

  // Whether an event is at the line between before and after.
  onLine(event) {
    if (!this.result || this.beside) return false;
    const reach = event.pointerType === "touch" ? 24 : 8;
    return Math.abs(this.shareOf(event) - this.split) * this.canvas.clientWidth <= reach;
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
    const { scale, w } = this.place;
    const line = this.split * canvas.clientWidth;
    c.setTransform(dpr, 0, 0, dpr, 0, 0);
    this.paintPicture(this.source, [0, w], 0);
    if (this.result && this.beside) this.paintPicture(this.result, [w, w], w);
    else if (this.result) this.paintPicture(this.result, [line, w - line], 0);
    if (this.overlay && !this.near) {
      c.globalAlpha = this.opacity;
      this.paintPicture(this.overlay, [0, w], 0);
      c.globalAlpha = 1;
    }
    c.fillStyle = "#fff";
    if (this.result) c.fillRect((this.beside ? w : line) - 1, 0, 2, canvas.clientHeight);
    this.paintCursor(c, dpr, scale);
  }

  // Draw a picture at the place of the source, moved to the right, between two columns.
  paintPicture(picture, [x, width], moved) {
    const { context: c } = this;
    const { scale, left, top, h: height } = this.place;
    const [w, h] = [this.size[0] * scale, this.size[1] * scale];
    c.save();
    c.beginPath();
    c.rect(x, 0, width, height);
    c.clip();
    c.imageSmoothingEnabled = scale < 3;
    const still = picture === this.overlay ? picture : this.reduced(picture, w, h);
    c.drawImage(still, left + moved, top, w, h);
    c.restore();
  }

  // Return a picture at the size at which it is drawn, if smaller: it is drawn again for each stroke.
  reduced(picture, w, h) {
    const dpr = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(w * dpr), Math.round(h * dpr)];
    if (width >= picture.width || width < 1 || height < 1) return picture;
    let kept = this.scaled.get(picture);
    if (kept?.width !== width || kept?.height !== height) {
      kept = new OffscreenCanvas(width, height);
      const context = kept.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(picture, 0, 0, width, height);
      this.scaled = new Map([...this.scaled].filter(([one]) => one === this.source || one === this.result));
      this.scaled.set(picture, kept);
    }
    return kept;
  }

  paintCursor(c, dpr, scale) {
    if (!this.painter?.size || this.near || !this.cursor || this.cursor.pointerType === "touch") return;
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
