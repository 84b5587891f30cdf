// Make elements: el("button", {class: "main", onclick: f}, "Text", child, …)
export function el(name, values = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(values)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && !key.startsWith("aria")) made[key] = value;
    else if (value !== null && value !== undefined && value !== "") made.setAttribute(key === "class" ? "class" : key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
export const byId = (id) => document.getElementById(id);

// Replace what a box contains; the focus stays on the element of the same id or name, with what is being typed there.
export function fill(box, ...made) {
  const had = box.contains(document.activeElement) ? document.activeElement : null;
  box.replaceChildren(...made);
  const name = (one) => one.id || one.getAttribute("aria-label") || one.textContent;
  const same = had && [...box.querySelectorAll(had.tagName)].find((one) => name(one) === name(had));
  same?.focus({ preventScroll: true });
  if (same && had.dataset.typed) Object.assign(same, { value: had.value }).dataset.typed = "yes";
}

// Do so only if a key has changed: a button that is being pressed, or a slider, must not be replaced.
export function fillIf(box, key, make) {
  const text = JSON.stringify(key);
  if (box.dataset.key === text) return;
  box.dataset.key = text;
  fill(box, ...make());
}

export const seconds = (value) => {
  if (value === null || value === undefined) return "–";
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  return `${(value / 3600).toFixed(1)} h`;
};
export const bytes = (value) => value < 1e9 ? `${(value / 1e6).toFixed(1)} MB` : `${(value / 1e9).toFixed(1)} GB`;
