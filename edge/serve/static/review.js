// Review: say what the kept pictures show, one by one by a key or tap, or many at once; and mend wrong labels.

import { $, chooseLabel, el, enlarge, follow, get, percent, plural, post, refresh, retrain, state, tile, toast, trying, when } from "./lib.js";

let frames = [], labels = [], groups = [], at = 0; // groups: lists of frames that are nearly the same
let several = false, lastPicked = null;
const picked = new Set(); // the first file of each picked group
const steps = []; // what can be undone, the last one last
const SHOWN = 8; // findings at first
const hidden = new Set(); // findings that are right as they are

async function load() {
  const found = await trying(() => get("waiting"));
  if (!found) return;
  const current = groups[at]?.[0].file;
  ({ frames, labels } = found);
  const by = new Map();
  for (const frame of frames) by.set(frame.group, [...(by.get(frame.group) ?? []), frame]);
  groups = [...by.values()];
  const place = groups.findIndex((group) => group[0].file === current);
  at = place >= 0 ? place : Math.min(at, Math.max(0, groups.length - 1));
  draw();
  if (found.looked_at < frames.length && !document.hidden) setTimeout(load, 1500);
}

let shownVersion = null, shownWaiting = null;
follow((now, changed) => {
  if (!now) return;
  if (changed || now.home.waiting !== shownWaiting) {
    if (now.home.version !== shownVersion || now.home.waiting !== shownWaiting) load();
    shownVersion = now.home.version;
    shownWaiting = now.home.waiting;
  }
});

const files = (group) => group.map((frame) => frame.file);
const picture = (frame) => `waiting/${frame.file}`;

function guessWords(frame) {
  if (!frame.readable) return "This picture cannot be read.";
  if (!frame.top.length) return "Being looked at …";
  const most = frame.top.slice(0, 3).map((guess) => `${guess.label} ${percent(guess.probability)}`).join(", ");
  return frame.unknown ? `Unlike everything taught. Nearest: ${most}` : `Perhaps ${most}`;
}

function draw() {
  const group = groups[at];
  $("one").hidden = !group;
  $("none").hidden = Boolean(group);
  $("undo-last").hidden = !steps.length;
  $("undo").disabled = !steps.length;
  $("strip-card").hidden = groups.length < 1;
  if (!group) { $("keys").replaceChildren(); $("strip").replaceChildren(); return; }
  const first = group[0];
  const many = several && picked.size;
  $("one-title").textContent = many ? `What are these ${count()} pictures?` : group.length > 1 ? `What is this? (${group.length} nearly the same)` : "What is this?";
  if ($("picture").getAttribute("src") !== picture(first)) $("picture").src = picture(first);
  $("picture").alt = `Picture of ${when(first.time)}`;
  $("guess").textContent = `${when(first.time)}. ${guessWords(first)}`;
  const likely = first.top[0]?.label;
  const wanted = labels.map((label, place) => `${place}${label}${label === likely}`).join("\n");
  if ($("keys").dataset.wanted !== wanted) {
    $("keys").dataset.wanted = wanted;
    $("keys").replaceChildren(...labels.map((label, place) => el("button", { type: "button", className: label === likely ? "main" : "", onclick: () => name(label) },
      place < 9 ? el("kbd", {}, String(place + 1)) : null, el("span", { className: "text" }, label))));
  }
  $("strip-title").textContent = `${plural(frames.length, "picture")} waiting`;
  $("strip-text").textContent = several ? "Tap pictures to pick them; hold Shift to pick all in between. Then tap a label above: pictures that you name together count as one occasion." : groups.length < frames.length ? "Pictures that are nearly the same are shown as one." : "";
  $("several").setAttribute("aria-pressed", String(several));
  $("several").textContent = several ? "Done selecting" : "Select several";
  const tiles = groups.map((one, place) => el("li", {}, tile(picture(one[0]), `${several ? "Pick" : "Show"} picture ${place + 1}, ${guessWords(one[0])}`,
    { "aria-pressed": several ? String(picked.has(one[0].file)) : undefined, "aria-current": !several && place === at ? "true" : undefined, onclick: (event) => tap(place, event.shiftKey) },
    one.length > 1 ? el("span", { className: "count" }, `× ${one.length}`) : null,
    el("span", { className: "cap" }, one[0].unknown ? "unknown" : one[0].top[0] ? `${one[0].top[0].label}?` : "…"))));
  const focused = [...$("strip").querySelectorAll("button")].indexOf(document.activeElement);
  $("strip").replaceChildren(...tiles);
  if (focused >= 0) $("strip").querySelectorAll("button")[Math.min(focused, tiles.length - 1)]?.focus();
}

const count = () => groups.filter((group) => picked.has(group[0].file)).reduce((sum, group) => sum + group.length, 0);

function tap(place, range) {
  if (!several) { at = place; draw(); return; }
  const file = groups[place][0].file;
  if (range && lastPicked !== null) {
    const [from, to] = [Math.min(lastPicked, place), Math.max(lastPicked, place)];
    for (let one = from; one <= to; one += 1) picked.add(groups[one][0].file);
  } else if (!picked.delete(file)) picked.add(file);
  lastPicked = place;
  draw();
}

/** The files that a tap is about: those picked, else the picture shown and its likes. */
function target() {
  const some = several && picked.size ? groups.filter((group) => picked.has(group[0].file)) : groups.slice(at, at + 1);
  return some.flatMap(files);
}

let busy = false;
async function act(what) {
  if (busy || !groups.length) return;
  busy = true;
  const done = await trying(what, load);
  busy = false;
  if (!done) return;
  steps.push(done.step);
  picked.clear();
  lastPicked = null;
  const text = done.labelled !== undefined ? `${plural(done.labelled, "picture")} named “${done.label}”.` : `${plural(done.put_away, "picture")} put away.`;
  toast([text, ...(done.said ?? [])].join(" "), "Undo", () => undo(done.step));
  await load();
  refresh();
}
function name(label) {
  const chosen = target();
  return act(() => post("review/name", { files: chosen, label }));
}
async function undo(step = steps.at(-1)) {
  if (step === undefined) return;
  const done = await trying(() => post("review/undo", { step }), load);
  steps.splice(steps.indexOf(step), 1);
  if (done) toast(`${plural(done.undone, "picture")} taken back.`);
  await load();
  refresh();
}
function skip(by) {
  if (groups.length) { at = (at + by + groups.length) % groups.length; draw(); }
}
async function newLabel() {
  const label = await chooseLabel("What is it?", labels);
  if (label) name(label);
}

$("useless").addEventListener("click", () => { const chosen = target(); act(() => post("review/useless", { files: chosen })); });
$("skip").addEventListener("click", () => skip(1));
$("undo").addEventListener("click", () => undo());
$("undo-last").addEventListener("click", () => undo());
$("new").addEventListener("click", newLabel);
$("several").addEventListener("click", () => { several = !several; picked.clear(); lastPicked = null; draw(); });
$("big").addEventListener("click", () => { const first = groups[at]?.[0]; if (first) enlarge(picture(first), guessWords(first)); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, dialog") || document.querySelector("dialog[open]")) return;
  const key = event.key;
  if (/^[1-9]$/.test(key) && labels[Number(key) - 1]) name(labels[Number(key) - 1]);
  else if (key === "Delete" || key === "d") $("useless").click();
  else if (key === "u") undo();
  else if (key === "n") newLabel();
  else if (key === "ArrowRight") skip(1);
  else if (key === "ArrowLeft") skip(-1);
  else return;
  event.preventDefault();
});

// ---- mistakes among what was taught ------------------------------------------------------------------------------

$("look").addEventListener("click", findings);
if (location.hash === "#findings") findings();

async function findings() {
  $("look").disabled = true;
  $("findings-text").textContent = "The taught pictures are being compared. With many pictures on a small board, this can take a minute.";
  const found = await trying(() => get("findings"));
  $("look").disabled = false;
  if (!found) return;
  const cards = [];
  for (const one of found.suspects ?? []) {
    if (!one.likely || hidden.has(`s${one.example}`)) continue;
    cards.push(card(one.example, [`Taught as “${one.label}”, but it looks like “${one.guess}”`, ` (${percent(one.probability)}).`],
      [[`It is ${one.guess}`, () => move(one.example, one.label, one.guess)], ["It is right", () => hidden.add(`s${one.example}`)], ["Forget it", () => forget([{ id: one.example, label: one.label }])]]));
  }
  for (const one of found.contradictions ?? []) {
    const [first, second] = one.examples, [a, b] = one.labels;
    if (hidden.has(`c${first},${second}`)) continue;
    cards.push(card(first, [`Nearly the same picture was taught as “${a}” and as “${b}”.`],
      [[`Both are ${a}`, () => move(second, b, a)], [`Both are ${b}`, () => move(first, a, b)], ["Both are right", () => hidden.add(`c${first},${second}`)]], second));
  }
  for (const one of found.repeated ?? []) {
    const [first, ...others] = one.examples;
    if (hidden.has(`r${first}`)) continue;
    cards.push(card(first, [`${plural(one.examples.length, "picture")} of “${one.labels[0]}” are nearly the same. Such copies make the result look better than it is.`],
      [["Keep one of them", () => forget(others.map((id) => ({ id, label: one.labels[0] })))], ["Keep all", () => hidden.add(`r${first}`)]], others[0]));
  }
  for (const one of found.thin ?? []) {
    cards.push(el("div", { className: "note" }, `“${one.label}” has only ${plural(one.examples, "picture")}${one.independent < one.examples ? `, from ${plural(one.independent, "occasion")}` : ""}. That is too few to say how well it is recognised. Teach at least five, on different occasions.`));
  }
  const some = cards.slice(0, SHOWN), rest = cards.slice(SHOWN);
  const more = el("button", { type: "button", onclick: () => more.replaceWith(...rest) }, `Show ${rest.length} more`);
  $("findings").replaceChildren(...some, ...(rest.length ? [more] : []));
  $("findings-text").textContent = found.examples === 0 ? found.note || "Nothing was taught here yet." : cards.length ? `${plural(cards.length, "thing")} to look at among ${plural(found.examples, "taught picture")}.` : `Nothing looks wrong among ${plural(found.examples, "taught picture")}.`;
}

function card(example, said, buttons, second = null) {
  const show = (id) => tile(`examples/${id}.jpg`, "Enlarge", { onclick: () => enlarge(`examples/${id}.jpg`, said[0]) });
  const made = el("article", { className: "finding" }, el("div", { className: "stack" }, show(example), second === null ? null : show(second)),
    el("div", {}, el("p", {}, ...said), el("div", { className: "row" }, ...buttons.map(([text, act]) => el("button", { type: "button", onclick: async () => {
      if (await act() !== null) { made.remove(); learnAgain(); }
    } }, text)))));
  return made;
}
const move = (id, label, to) => trying(() => post("examples/move", { examples: [{ id, label }], label: to }), findings);
const forget = (examples) => trying(() => post("examples/forget", { examples }), findings);

async function learnAgain() {
  await refresh();
  if (state()?.home.untrained_examples && !$("again")) {
    const place = el("div", { className: "stack", role: "status" });
    const button = el("button", { type: "button", className: "main", onclick: (event) => retrain(event.currentTarget, place) }, "Learn from the changes now");
    $("findings").after(el("div", { className: "stack", id: "again" }, el("div", { className: "row" }, button), place));
  }
}
