// What all pages share: making elements, asking the device, messages, dialogs, and how everything stands.
// Text from the device goes into the page as text alone, never as HTML.

export const $ = (id) => document.getElementById(id);

/** Make an element: el("button", {type: "button", onclick: act}, "Go"). */
export function el(name, about = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(about)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && typeof value !== "string") made[key] = value;
    else made.setAttribute(key === "className" ? "class" : key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}\u00a0%`;
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** When something was, as people say it. */
export function when(time) {
  const date = new Date(time), seconds = (Date.now() - date) / 1000;
  if (seconds < 45) return "just now";
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  const clock = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === new Date().toDateString()) return `today, ${clock}`;
  return `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${clock}`;
}

/** An error with what the device said of it. */
export class Refused extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

async function ask(path, options) {
  let got;
  try {
    got = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Refused("The device does not answer. Is it on, and is this phone in its network?", 0);
  }
  if (got.status === 401) {
    location.href = "login";
    throw new Refused("Log in first.", 401);
  }
  if (!got.ok) {
    const said = await got.json().catch(() => ({}));
    throw new Refused(said.error || `The device refused (${got.status}).`, got.status);
  }
  return got;
}

export const get = async (path) => (await ask(path)).json();
export const raw = (path) => ask(path);
export const post = async (path, value = {}, more = {}) =>
  (await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value), ...more })).json();

/** Show a message for a while, perhaps with a button. */
export function toast(text, button = "", act = null) {
  const made = el("div", { className: "toast" }, el("span", {}, text));
  const close = () => made.remove();
  if (button) made.append(el("button", { type: "button", onclick: () => { close(); act(); } }, button));
  $("toasts").append(made);
  setTimeout(close, button ? 12000 : 6000);
}

/** Do something, and say it if the device refuses; what is stale is shown anew. */
export async function trying(act, again = refresh) {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    toast(error.message);
    if (error.status === 409) again();
    return null;
  }
}

/** Ask in a dialog; resolves to the value of the button, or null. `content` are elements. */
export function dialog(title, content, buttons) {
  return new Promise((resolve) => {
    const made = el("dialog", { "aria-labelledby": "dialog-title" }, el("h2", { id: "dialog-title" }, title), ...content);
    const row = el("div", { className: "row" });
    const end = (value) => { made.close(); made.remove(); resolve(value); };
    for (const [text, value, kind] of buttons) {
      row.append(el("button", { type: "button", className: kind || "", onclick: () => end(typeof value === "function" ? value() : value) }, text));
    }
    made.append(row);
    made.addEventListener("cancel", (event) => { event.preventDefault(); end(null); });
    made.addEventListener("click", (event) => { if (event.target === made) end(null); });
    document.body.append(made);
    made.showModal();
  });
}

/** Show a picture large. */
export const enlarge = (source, title, more = [], buttons = []) =>
  dialog(title, [el("img", { className: "whole", src: source, alt: title }), ...more], [...buttons, ["Close", null]]);

/** A picture to tap. */
export function tile(source, name, about = {}, ...more) {
  const image = el("img", { src: source, alt: "", loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(el("span", { className: "none" }, "no picture kept")));
  return el("button", { type: "button", className: "tile", "aria-label": name, ...about }, image, ...more);
}

// ---- how everything stands ---------------------------------------------------------------------------------------

const listeners = [];
let timer = null, last = null, version = null;
export const state = () => last;

/** Call `act(now, changed)` once a second; `changed` says that the home is another one than before. */
export function follow(act) {
  listeners.push(act);
  if (listeners.length === 1) refresh();
  else if (last) act(last, true);
}

let asking = document.body.classList.contains("teach") ? "now?look=1" : "now";

/** Ask at once. */
export async function refresh() {
  clearTimeout(timer);
  try {
    const now = await get(asking);
    const changed = now.home.version !== version;
    version = now.home.version;
    last = now;
    $("place").textContent = now.camera.name;
    badge("review", now.home.waiting);
    badge("learn", now.home.untrained_examples);
    lost(false);
    for (const act of listeners) act(now, changed);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    lost(true);
    for (const act of listeners) act(null, false);
  } finally {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(refresh, 1000);
  }
}
document.addEventListener("visibilitychange", () => { if (!document.hidden && listeners.length) refresh(); });

function badge(name, count) {
  const mark = $(`badge-${name}`);
  mark.hidden = !count;
  mark.textContent = count > 99 ? "99+" : String(count);
  mark.setAttribute("aria-label", name === "review" ? `${count} waiting` : `${count} new pictures`);
}

let gone = null;
function lost(is) {
  if (is && !gone) {
    gone = el("p", { className: "note bad", role: "alert" }, "The device does not answer. This page continues as soon as it does.");
    $("main").prepend(gone);
  } else if (!is && gone) {
    gone.remove();
    gone = null;
  }
}

/** What a label has been taught, in a few words. */
export function taughtWords(one) {
  const here = one.local + one.held_out, parts = [];
  if (here) parts.push(`${here} taught here`);
  if (one.factory) parts.push(`${one.factory} from the bundle`);
  return parts.join(", ") || "nothing yet";
}

/** The new version in words for people, as elements. */
export function madeWords(made) {
  const share = (figures) => figures.loo_accuracy === null
    ? el("span", { className: "soft" }, "not measurable yet")
    : el("span", {}, el("b", {}, percent(figures.loo_accuracy)), el("span", { className: "soft small" }, `${figures.scope === "local" ? "of those taught here, " : ""}probably ${Math.round(100 * figures.loo_interval[0])} to ${percent(figures.loo_interval[1])}`));
  const found = [];
  if (made.promoted) {
    found.push(el("p", { className: "note good" }, `Done: it has learned from ${plural(made.local_examples, "picture")} taught here. Version ${made.generation} answers from now on.`));
  } else {
    found.push(el("div", { className: "note warn" }, el("p", {}, `Version ${made.generation} is kept aside, and version ${made.serving} stays in use, because the new one was clearly worse.`), el("p", { className: "small" }, made.refusal)));
  }
  found.push(el("div", { className: "versus" },
    el("div", {}, el("span", { className: "soft small" }, `before (version ${made.before.generation})`), share(made.before)),
    el("div", {}, el("span", { className: "soft small" }, `now (version ${made.generation})`), share(made))));
  found.push(el("p", { className: "soft small" }, "The share of pictures that it names correctly. Each one was tested as if it had never been taught."));
  if (made.before.loo_accuracy !== null && made.loo_accuracy !== null && made.before.scope !== made.scope) {
    const both = [made.shared, made.factory].filter(Boolean), sum = (name) => both.reduce((total, one) => total + one[name], 0);
    found.push(el("p", { className: "soft small" }, "The two figures count different pictures, so do not compare them."
      + (both.length ? ` Of the ${plural(sum("examples"), "picture")} that both versions learned from, ${sum("serving_right")} were named correctly before and ${sum("right")} now.` : "")));
  }
  for (const line of [made.note, made.advice, made.unknown_note]) if (line) found.push(el("p", { className: "soft small" }, line));
  return found;
}

/** Retrain; shows the result in `place`. */
export async function retrain(button, place, force = false) {
  button.disabled = true;
  const text = button.textContent;
  button.textContent = "Learning …";
  const made = await trying(() => post("retrain", { force }));
  button.disabled = false;
  button.textContent = text;
  if (!made) return null;
  place.replaceChildren(...madeWords(made));
  if (!made.promoted) {
    place.append(el("div", { className: "row" },
      el("a", { className: "button", href: "review#findings" }, "Look for wrong labels"),
      el("button", { type: "button", onclick: (event) => retrain(event.currentTarget, place, true) }, "Use the new version anyway")));
  }
  place.hidden = false;
  refresh();
  return made;
}

/** A list of labels to choose from, with room for a new one; resolves to a name or null. */
export function chooseLabel(title, labels, about = "") {
  const input = el("input", { type: "text", maxlength: "100", id: "choose-name", placeholder: "or a new label", autocomplete: "off" });
  return new Promise((resolve) => {
    const made = el("dialog", { "aria-labelledby": "choose-title" }, el("h2", { id: "choose-title" }, title), about ? el("p", { className: "soft" }, about) : null);
    const end = (value) => { made.close(); made.remove(); resolve(value); };
    const row = el("div", { className: "row" });
    for (const label of labels) row.append(el("button", { type: "button", onclick: () => end(label) }, label));
    const form = el("form", { className: "row" }, el("label", { className: "visually-hidden", for: "choose-name" }, "New label"), input, el("button", { type: "submit", className: "main" }, "OK"), el("button", { type: "button", onclick: () => end(null) }, "Cancel"));
    form.addEventListener("submit", (event) => { event.preventDefault(); if (input.value.trim()) end(input.value.trim()); });
    made.append(row, form);
    made.addEventListener("cancel", (event) => { event.preventDefault(); end(null); });
    document.body.append(made);
    made.showModal();
    if (!labels.length) input.focus();
  });
}
