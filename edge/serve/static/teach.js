// Teach: hold a label to record it, see what came of it, and let the device learn.

import { $, el, follow, plural, post, Refused, refresh, retrain, state, taughtWords, toast, trying } from "./lib.js";
import { frameNumber } from "./view.js";
import "./photos.js";
import "./region.js";

const BEAT = 500; // milliseconds from one word to the device to the next, while a label is held
const added = []; // labels that were named here, and have no picture yet
let recording = null; // {button, label, session, beat, released}

function labels() {
  const home = state().home.labels, known = home.map((one) => one.label);
  return [...home, ...added.filter((name) => !known.includes(name)).map((label) => ({ label, local: 0, factory: 0, held_out: 0 }))];
}

function draw() {
  if (recording) return; // a button that is moved would lose the finger that holds it
  const all = labels(), box = $("labels"), focused = document.activeElement;
  const there = new Map([...box.children].map((button) => [button.dataset.label, button]));
  if ([...there.keys()].join("\n") !== all.map((one) => one.label).join("\n")) {
    box.replaceChildren(...all.map((one) => there.get(one.label) ?? holdButton(one.label)));
    if (box.contains(focused)) focused.focus();
  }
  for (const [place, one] of all.entries()) box.children[place].querySelector(".how").textContent = taughtWords(one);
}

function holdButton(label) {
  const button = el("button", { type: "button", className: "hold", "data-label": label },
    el("span", { className: "what" }, label), el("span", { className: "how" }));
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    try { button.setPointerCapture(event.pointerId); } catch { /* it was let go already */ }
    begin(button, label);
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(kind, () => end(button));
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  button.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) begin(button, label);
  });
  button.addEventListener("keyup", (event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); end(button); } });
  button.addEventListener("blur", () => end(button));
  return button;
}

async function begin(button, label) {
  if (recording) return;
  const mine = recording = { button, label, session: null, released: false };
  button.classList.add("on");
  told(mine, { examples: [], alike: 0, blank: 0 });
  try {
    const begun = await post("record", { label, frame: frameNumber() || null });
    mine.session = begun.session;
    told(mine, begun);
    mine.beat = setInterval(() => beat(mine), BEAT);
    if (mine.released) finish(mine);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    done(mine);
    toast(error.message);
  }
}

async function beat(mine) {
  try {
    const now = await post("record/on", { session: mine.session });
    if (recording !== mine) return;
    told(mine, now);
    if (!now.running) finish(mine); // there are enough
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 409) finish(mine);
  }
}

function end(button) {
  const mine = recording;
  if (!mine || mine.button !== button || mine.released) return;
  mine.released = true;
  if (mine.session) finish(mine);
}

async function finish(mine) {
  clearInterval(mine.beat);
  if (mine.finishing) return;
  mine.finishing = true;
  const result = await trying(() => post("record/off", { session: mine.session }, { keepalive: true }));
  done(mine);
  if (result) show(result);
  refresh();
}

function done(mine) {
  clearInterval(mine.beat);
  mine.button.classList.remove("on");
  if (recording === mine) recording = null;
  draw();
}

function told(mine, now) {
  const alike = now.alike ? `, ${now.alike} alike skipped` : "";
  mine.button.querySelector(".how").textContent = `${now.examples.length} taken${alike}`;
}

function show(result) {
  const count = result.examples.length, lines = [];
  lines.push(el("p", {}, el("strong", {}, count ? `${plural(count, "new picture")} of “${result.label}”.` : `No new picture of “${result.label}”.`),
    result.alike ? ` ${plural(result.alike, "picture")} nearly the same as another, skipped.` : "",
    result.blank ? ` ${plural(result.blank, "picture")} showed nothing but one colour and ${result.blank === 1 ? "was" : "were"} not taken: is the lens covered?` : ""));
  for (const line of result.complaints) lines.push(el("p", { className: "small" }, line));
  if (count && count < 5 && state().camera.live) lines.push(el("p", { className: "small" }, "These are few. Hold longer, and move the thing or the light."));
  if (count) {
    const seen = result.examples.map((id) => ({ id, label: result.label }));
    lines.push(el("div", { className: "row" }, el("button", { type: "button", onclick: () => undo(seen) }, "Undo")));
  }
  $("result").className = result.complaints.length ? "note warn" : "note";
  $("result").replaceChildren(...lines);
  $("result").hidden = false;
}

/** Forget what was just taught. */
export async function undo(seen) {
  const gone = await trying(() => post("undo", { examples: seen }));
  if (!gone) return;
  $("result").className = "note";
  $("result").replaceChildren(el("p", {}, `${plural(gone.examples, "picture")} taken back, as if never taught.`));
  $("result").hidden = false;
  refresh();
}

$("new").addEventListener("click", () => {
  $("new-fields").hidden = false;
  $("new").hidden = true;
  $("new-name").focus();
});
$("new-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("new-name").value.trim();
  if (!name) return;
  if (!labels().some((one) => one.label === name)) added.push(name);
  $("new-name").value = "";
  $("new-fields").hidden = true;
  $("new").hidden = false;
  draw();
  dispatchEvent(new CustomEvent("labels", { detail: name }));
  const made = [...$("labels").children].find((button) => button.dataset.label === name);
  made.focus();
  made.scrollIntoView({ block: "nearest" });
});
$("retrain").addEventListener("click", (event) => retrain(event.currentTarget, $("learned")));

follow((now) => {
  if (!now) return;
  draw();
  $("by-camera").classList.toggle("without", now.camera.state === "none");
  $("how").textContent = now.camera.state === "none"
    ? "There is no camera, so labels cannot be held. Add photos below."
    : now.camera.live ? "Move the thing a little, or let it move. Pictures that are nearly the same are skipped. A short tap takes one picture."
      : "A tap teaches the newest picture; while a label is held, each picture that arrives is taught.";
  for (const button of $("labels").children) button.disabled = now.camera.state === "none" || !now.frame;
  $("look").hidden = !now.look;
  if ($("look").textContent !== now.look) $("look").textContent = now.look;
  const other = now.recording && !recording;
  if (other) $("look").hidden = false, $("look").textContent = `Somebody is recording “${now.recording.label}”: ${plural(now.recording.examples.length, "picture")} so far.`;
  const fresh = now.home.untrained_examples;
  $("learn-now").hidden = !fresh || Boolean(now.recording);
  $("learn-text").textContent = `${plural(fresh, "picture")} ${fresh === 1 ? "is" : "are"} new. The answers change once the device has learned from ${fresh === 1 ? "it" : "them"}. That takes a moment.`;
});
addEventListener("pagehide", () => { if (recording) end(recording.button); });
