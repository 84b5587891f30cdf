// Calls to the server. Every error of the server is one sentence, shown as a message.

export class Refused extends Error {}

// Send a request; the answer, or the error of the server.
async function asked(url, options) {
  let response;
  try { response = await fetch(url, options); } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("the studio does not answer; start it again with 'vidstyle studio' and open the address that it prints");
  }
  if (response.ok) return response;
  let message = `the server answered ${response.status}`;
  try { message = (await response.json()).error ?? message; } catch { /* not JSON */ }
  throw new Refused(message);
}

export const get = async (path, query = {}, kind = "json") =>
  (await asked(`${path}?${new URLSearchParams(query)}`))[kind]();

export const post = async (path, values = {}, signal) =>
  asked(path, {
    method: "POST", body: JSON.stringify(values), signal,
    headers: { "Content-Type": "application/json" },
  });

export const postJson = async (path, values) => (await post(path, values)).json();

export const send = async (method, path, body) => (await asked(path, { method, body })).json();

// Copy a file to the studio's folder; with `set`, into a folder of that name. Returns the path.
export const upload = async (file, set = "") =>
  (await send("POST", `/api/upload?${new URLSearchParams({ name: file.name, ...(set ? { set } : {}) })}`, file)).path;

export const blob = async (path, query, signal = null) => {
  const response = await asked(`${path}?${new URLSearchParams(query)}`, { signal });
  return response.status === 204 ? null : { blob: await response.blob(), headers: response.headers };
};

export const pictureUrl = (path, side = 256) =>
  `/api/picture?${new URLSearchParams({ path, side })}`;

export async function bitmap(data) {
  return createImageBitmap(data, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

// Yield the events of a response of server-sent events; an error event is thrown.
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const one = JSON.parse(part.replace(/^data: /, ""));
      if (one.error) throw new Refused(one.error);
      yield one;
    }
  }
}

export function tell(error) {
  if (error?.name === "AbortError") return;
  const text = String(error?.message ?? error);
  const shown = [...document.getElementById("toasts").children];
  if (shown.some((box) => box.textContent === text)) return;
  const box = document.createElement("div");
  box.textContent = text;
  box.addEventListener("click", () => box.remove());
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), 12000);
}

// Run an action of the user; its failure becomes a message.
export const tried = (action) => async (...values) => {
  try { return await action(...values); } catch (error) { tell(error); return undefined; }
};
