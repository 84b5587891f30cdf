// Calls to the server. Every error of the server is one sentence, shown as a message.

export class Refused extends Error {}

async function answer(response) {
  if (response.ok) return response;
  let message = `the server answered ${response.status}`;
  try { message = (await response.json()).error ?? message; } catch { /* not JSON */ }
  throw new Refused(message);
}

export const get = async (path, query = {}) =>
  (await answer(await fetch(`${path}?${new URLSearchParams(query)}`))).json();

export const post = async (path, values = {}, signal) =>
  answer(await fetch(path, {
    method: "POST", body: JSON.stringify(values), signal,
    headers: { "Content-Type": "application/json" },
  }));

export const postJson = async (path, values) => (await post(path, values)).json();

export const send = async (method, path, body) => (await answer(await fetch(path, { method, body }))).json();

export const blob = async (path, query) => {
  const response = await answer(await fetch(`${path}?${new URLSearchParams(query)}`));
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
  const box = document.createElement("div");
  box.textContent = error instanceof Refused ? error.message : String(error?.message ?? error);
  box.addEventListener("click", () => box.remove());
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), 12000);
}

// Run an action of the user; its failure becomes a message.
export const tried = (action) => async (...values) => {
  try { return await action(...values); } catch (error) { tell(error); return undefined; }
};
