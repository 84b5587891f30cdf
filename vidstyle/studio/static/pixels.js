// Painting on one plane of bytes: weights of a mask (0..255) or labels of a map.

export class Plane {
  constructor(width, height, labels = false) {
    Object.assign(this, { width, height, labels });
    this.data = new Uint8Array(width * height);
  }

  // Return a copy of the bytes in a rectangle [x, y, width, height].
  cut([x, y, w, h]) {
    const part = new Uint8Array(w * h);
    for (let row = 0; row < h; row++) {
      const from = (y + row) * this.width + x;
      part.set(this.data.subarray(from, from + w), row * w);
    }
    return part;
  }

  paste([x, y, w, h], part) {
    for (let row = 0; row < h; row++) {
      this.data.set(part.subarray(row * w, (row + 1) * w), (y + row) * this.width + x);
    }
  }

  get whole() { return [0, 0, this.width, this.height]; }
  get empty() { return !this.data.some((value) => value > 0); }
}

// Return 256 colours from a function of (value) to [red, green, blue, alpha].
export const palette = (shown) =>
  new Uint32Array(Uint8Array.from({ length: 1024 }, (_, i) => shown(i >> 2)[i & 3]).buffer);

// Return a rectangle of a plane as an image, in the colours of a palette.
export function colored(plane, [x, y, w, h], colors) {
  const image = new Uint32Array(w * h);
  for (let row = 0, to = 0; row < h; row++) {
    const from = (y + row) * plane.width + x;
    for (let i = from; i < from + w; i++) image[to++] = colors[plane.data[i]];
  }
  return new ImageData(new Uint8ClampedArray(image.buffer), w, h);
}

// One stroke: the strongest dab at each pixel counts, so that a stroke over itself stays even.
export class Stroke {
  constructor(plane, { size, hardness, value, erase }) {
    Object.assign(this, { plane, size, hardness, value, erase });
    this.before = plane.data.slice();
    this.cover = new Uint8Array(plane.data.length);
    this.last = null;
    this.box = null;
  }

  // Go on to (x, y), in pixels; pressure 0..1. Returns the rectangle that changed.
  to(x, y, pressure = 1) {
    const radius = Math.max(0.5, (this.size / 2) * (0.25 + 0.75 * pressure));
    const from = this.last ?? { x, y, radius };
    const length = Math.hypot(x - from.x, y - from.y);
    const steps = Math.max(1, Math.ceil(length / Math.max(0.5, Math.min(radius, from.radius) / 4)));
    let box = null;
    for (let step = this.last ? 1 : steps; step <= steps; step++) {
      const t = step / steps;
      box = joined(box, this.dab(from.x + (x - from.x) * t, from.y + (y - from.y) * t,
        from.radius + (radius - from.radius) * t));
    }
    this.last = { x, y, radius };
    this.box = joined(this.box, box);
    return box;
  }

  dab(cx, cy, radius) {
    const { width, height, data, labels } = this.plane;
    const x0 = Math.max(0, Math.floor(cx - radius - 1)), x1 = Math.min(width, Math.ceil(cx + radius + 1));
    const y0 = Math.max(0, Math.floor(cy - radius - 1)), y1 = Math.min(height, Math.ceil(cy + radius + 1));
    if (x0 >= x1 || y0 >= y1) return null;
    const soft = Math.max(1, radius * (1 - this.hardness));
    for (let y = y0; y < y1; y++) {
      for (let x = x0; x < x1; x++) {
        const far = Math.hypot(x + 0.5 - cx, y + 0.5 - cy);
        const i = y * width + x;
        if (labels) {
          if (far <= radius) data[i] = this.value;
          continue;
        }
        const share = Math.min(1, Math.max(0, (radius - far) / soft + 0.5));
        const cover = Math.round(255 * share * share * (3 - 2 * share));
        if (cover <= this.cover[i]) continue;
        this.cover[i] = cover;
        const old = this.before[i];
        const goal = this.erase ? 0 : this.value;
        data[i] = Math.round(old + ((goal - old) * cover) / 255);
      }
    }
    return [x0, y0, x1 - x0, y1 - y0];
  }

  // Return what undoing needs.
  get change() {
    if (!this.box) return null;
    const old = new Plane(this.plane.width, this.plane.height);
    old.data = this.before;
    return { box: this.box, before: old.cut(this.box), after: this.plane.cut(this.box) };
  }
}

export function joined(a, b) {
  if (!a || !b) return a ?? b;
  const x = Math.min(a[0], b[0]), y = Math.min(a[1], b[1]);
  return [x, y, Math.max(a[0] + a[2], b[0] + b[2]) - x, Math.max(a[1] + a[3], b[1] + b[3]) - y];
}

// Change a whole plane by a function of (plane); return what undoing needs.
export function changed(plane, change) {
  const before = plane.data.slice();
  change(plane);
  return { box: plane.whole, before, after: plane.data.slice() };
}

export const invert = (plane) => { plane.data.forEach((value, i, data) => { data[i] = 255 - value; }); };
export const fillAll = (value) => (plane) => { plane.data.fill(value); };

// Fill the connected area of like values around a pixel.
export const flood = (x, y, value) => (plane) => {
  const { width, height, data, labels } = plane;
  const start = data[y * width + x];
  const like = labels ? (v) => v === start : (v) => Math.abs(v - start) < 64;
  if (labels && start === value) return;
  const seen = new Uint8Array(data.length);
  const stack = [y * width + x];
  while (stack.length) {
    const i = stack.pop();
    if (seen[i] || !like(data[i])) continue;
    seen[i] = 1;
    const column = i % width;
    if (column > 0) stack.push(i - 1);
    if (column < width - 1) stack.push(i + 1);
    if (i >= width) stack.push(i - width);
    if (i < width * (height - 1)) stack.push(i + width);
  }
  seen.forEach((hit, i) => { if (hit) data[i] = value; });
};

// Soften edges: three box blurs, nearly a Gaussian of sigma `radius`.
export const feather = (radius) => (plane) => {
  const half = Math.max(1, Math.round(radius));
  let data = Float32Array.from(plane.data);
  for (let pass = 0; pass < 3; pass++) {
    data = blurred(data, plane.width, plane.height, half, 1, plane.width);
    data = blurred(data, plane.height, plane.width, half, plane.width, 1);
  }
  data.forEach((value, i) => { plane.data[i] = Math.round(value); });
};

function blurred(data, length, lines, half, step, stride) {
  const out = new Float32Array(data.length);
  for (let line = 0; line < lines; line++) {
    const at = (n) => data[line * stride + Math.min(length - 1, Math.max(0, n)) * step];
    let sum = 0;
    for (let n = -half; n <= half; n++) sum += at(n);
    for (let n = 0; n < length; n++) {
      out[line * stride + n * step] = sum / (2 * half + 1);
      sum += at(n + half + 1) - at(n - half);
    }
  }
  return out;
}

// Strokes that can be taken back, at most 50.
export class History {
  constructor(most = 50) { Object.assign(this, { most, past: [], future: [] }); }
  add(change) {
    this.past.push(change);
    if (this.past.length > this.most) this.past.shift();
    this.future = [];
  }
  undo() { const one = this.past.pop(); if (one) this.future.push(one); return one; }
  redo() { const one = this.future.pop(); if (one) this.past.push(one); return one; }
}
