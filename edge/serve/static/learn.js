// Learn: how good it is, what it was taught, what it takes for what, and the way back.

import { $, chooseLabel, dialog, el, enlarge, follow, get, percent, plural, post, refresh, retrain, state, taughtWords, tile, toast, trying, when } from "./lib.js";

let open = new Set(); // labels whose pictures are shown
const picked = new Map(); // id → label
let loaded = null;

follow((now, changed) => {
  if (!now) return;
  $("logout").hidden = !now.login;
  $("fresh").hidden = !now.home.untrained_examples;
  $("fresh-text").textContent = `${plural(now.home.untrained_examples, "new picture")} since it last learned.`;
  if (now.home.version === loaded || now.recording) return; // while pictures come in, each would be another home
  loaded = now.home.version;
  figure(now.home);
  examples(now.home);
  history(now.home);
  findings();
});
$("retrain").addEventListener("click", (event) => retrain(event.currentTarget, $("made")));

function figure(home) {
  const share = home.loo_accuracy;
  const parts = share === null
    ? [el("p", { className: "soft" }, "This cannot be measured yet: at least two labels need five pictures each.")]
    : [el("b", {}, percent(share)), el("span", { className: "soft" }, `of ${home.scope === "local" ? "the pictures taught here" : "pictures"} are named correctly. Each taught picture was tested as if it had never been taught. With this number of pictures, the true share is probably between ${percent(home.loo_interval[0])} and ${percent(home.loo_interval[1])}.`)];
  for (const one of home.unmeasured) parts.push(el("p", { className: "soft small" }, `Not counted yet: ${one.reason}.`));
  if (home.candidate !== null) {
    parts.push(el("div", { className: "note warn stack" }, el("p", {}, `Version ${home.candidate} is kept aside because it was clearly worse; version ${home.generation} stays in use. The list of versions says why.`)));
  }
  $("figure").replaceChildren(...parts);
}

// ---- what was taught ---------------------------------------------------------------------------------------------

function examples(home) {
  const focused = document.activeElement?.closest?.(".label-row")?.dataset.label;
  $("examples").replaceChildren(...home.labels.map((one) => {
    const row = el("details", { className: "label-row", "data-label": one.label, open: open.has(one.label) },
      el("summary", {}, el("span", {}, el("span", {}, one.label), el("span", { className: "soft small" }, taughtWords(one)))));
    const body = el("div", { className: "stack" });
    row.append(body);
    row.addEventListener("toggle", () => {
      if (row.open) { open.add(one.label); fill(body, one); } else open.delete(one.label);
    });
    if (row.open) fill(body, one);
    return row;
  }));
  if (focused) [...$("examples").children].find((row) => row.dataset.label === focused)?.querySelector("summary").focus();
}

async function fill(body, one) {
  const grid = el("ul", { className: "grid" }), more = el("button", { type: "button" }, "Show more");
  let last = 0;
  const actions = el("div", { className: "row" },
    el("button", { type: "button", onclick: () => rename(one.label) }, "Rename"),
    el("button", { type: "button", className: "bad", onclick: () => forgetLabel(one) }, "Forget the label"));
  const chosen = el("div", { className: "row", hidden: true });
  async function load() {
    const query = new URLSearchParams({ label: one.label, ...(last ? { before: last } : {}) });
    const found = await trying(() => get(`examples?${query}`));
    if (!found) return;
    for (const example of found.examples) {
      last = example.id;
      const press = tile(`examples/${example.id}.jpg`, `Picture ${example.id}, taught ${when(example.created)}`, {
        "aria-pressed": String(picked.has(example.id)),
        onclick: () => {
          if (!picked.delete(example.id)) picked.set(example.id, one.label);
          press.setAttribute("aria-pressed", String(picked.has(example.id)));
          choose();
        },
        ondblclick: () => show(example),
      });
      grid.append(el("li", {}, press));
    }
    more.hidden = found.count <= found.examples.length;
    if (!one.local) grid.replaceWith(el("p", { className: "soft small" }, "These examples are from the bundle. The device keeps no pictures of them."));
  }
  function choose() {
    const mine = [...picked].filter(([, label]) => label === one.label);
    chosen.hidden = !mine.length;
    if (!mine.length) return;
    const seen = mine.map(([id, label]) => ({ id, label }));
    chosen.replaceChildren(el("strong", {}, `${mine.length} picked`),
      el("button", { type: "button", onclick: () => enlarge(`examples/${mine.at(-1)[0]}.jpg`, `Taught as ${one.label}`) }, "Enlarge"),
      el("button", { type: "button", onclick: () => move(seen, one.label) }, "Move to …"),
      el("button", { type: "button", className: "bad", onclick: () => forget(seen) }, "Forget"));
  }
  more.addEventListener("click", load);
  body.replaceChildren(grid, more, chosen, actions);
  choose();
  await load();
}

const show = (example) => enlarge(`examples/${example.id}.jpg`, `Taught as ${example.label}, ${when(example.created)}`, [el("p", { className: "soft small" }, example.source)]);

async function move(seen, from) {
  const labels = state().home.labels.map((one) => one.label).filter((label) => label !== from);
  const to = await chooseLabel(`What ${seen.length === 1 ? "is it" : "are they"}?`, labels);
  if (!to) return;
  const done = await trying(() => post("examples/move", { examples: seen, label: to }));
  picked.clear();
  if (done) toast([`${plural(done.moved.length, "picture")} moved to “${to}”.`, ...done.said].join(" "), "Undo", () =>
    trying(async () => { await post("examples/move", { examples: seen.map(({ id }) => ({ id, label: to })), label: from }); refresh(); }));
  refresh();
}

async function forget(seen) {
  const sure = await dialog(`Forget ${plural(seen.length, "picture")}?`, [el("p", {}, "The device will answer as if it had never seen them. This cannot be undone.")], [["Forget", true, "bad"], ["Cancel", null]]);
  if (!sure) return;
  const done = await trying(() => post("examples/forget", { examples: seen }));
  picked.clear();
  if (done) toast(`${plural(done.examples, "picture")} forgotten.`);
  refresh();
}

async function rename(old) {
  const input = el("input", { type: "text", id: "rename", maxlength: "100", value: old });
  const name = await dialog(`Rename “${old}”`, [el("label", { className: "field", for: "rename" }, "New name", input)], [["Rename", () => input.value.trim(), "main"], ["Cancel", null]]);
  if (!name || name === old) return;
  let done = await trying(() => post("labels/rename", { old, new: name, merge: false }));
  if (done?.exists) {
    const merge = await dialog(`Merge “${old}” into “${done.new}”?`, [el("p", {}, `There is a label “${done.new}” already. All pictures of “${old}” would become pictures of “${done.new}”. This cannot be undone.`)], [["Merge them", true, "main"], ["Cancel", null]]);
    if (!merge) return;
    done = await trying(() => post("labels/rename", { old, new: done.new, merge: true }));
  }
  if (done) toast([`“${old}” is “${done.new}” from now on.`, ...(done.said ?? [])].join(" "));
  refresh();
}

async function forgetLabel(one) {
  const sure = await dialog(`Forget “${one.label}”?`, [el("p", {}, `The label and ${one.local + one.factory ? `its pictures (${taughtWords(one)})` : "its name"} go for good. This cannot be undone.`)], [["Forget it all", true, "bad"], ["Cancel", null]]);
  if (!sure) return;
  const done = await trying(() => post("labels/forget", { label: one.label, count: one.local + one.held_out }));
  if (done) toast(`“${one.label}” is forgotten.`);
  refresh();
}

// ---- what is taken for what --------------------------------------------------------------------------------------

async function findings() {
  const found = await trying(() => get("findings"));
  if (!found) return;
  const few = !found.confusion || !found.confusion.flat().some(Boolean);
  $("confusion-text").textContent = few ? found.note || "This is shown once more has been taught." : "Each row shows one label, and under which names its pictures were recognised when they were tested. Green is correct, red is wrong. Tap a number to see its pictures.";
  $("confusion").replaceChildren(...(few ? [] : [confusion(found)]));
  $("curve").replaceChildren(...curve(found));
}

function confusion(found) {
  const head = el("tr", {}, el("td", {}), ...found.labels.map((label) => el("th", { scope: "col", title: label }, label)));
  const rows = found.labels.map((truth, row) => el("tr", {}, el("th", { scope: "row", title: truth }, truth), ...found.labels.map((guess, column) => {
    const count = found.confusion[row][column];
    return el("td", {}, el("button", { type: "button", className: !count ? "zero" : row === column ? "right" : "wrong", disabled: !count,
      "aria-label": row === column ? `${truth}, correct: ${count}` : `${truth} mistaken for ${guess}: ${count}`,
      onclick: () => cell(found, truth, guess, count) }, String(count)));
  })));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}

async function cell(found, truth, guess, count) {
  const wrong = found.suspects.filter((one) => one.label === truth);
  let ids;
  if (truth === guess) {
    const all = await trying(() => get(`examples?${new URLSearchParams({ label: truth })}`));
    if (!all) return;
    const doubted = new Set(wrong.map((one) => one.example));
    ids = all.examples.filter((one) => !doubted.has(one.id)).map((one) => one.id);
  } else ids = wrong.filter((one) => one.guess === guess).map((one) => one.example);
  const title = truth === guess ? `“${truth}”, named correctly` : `“${truth}” mistaken for “${guess}”`;
  const rest = count - ids.length;
  dialog(title, [
    el("ul", { className: "grid" }, ...ids.map((id) => el("li", {}, tile(`examples/${id}.jpg`, `Picture ${id}`, { onclick: () => enlarge(`examples/${id}.jpg`, title) })))),
    rest > 0 ? el("p", { className: "soft small" }, `${ids.length ? `${rest} more` : rest === 1 ? "It" : "They"} cannot be shown here.`) : null,
  ].filter(Boolean), [["Close", null]]);
}

function curve(found) {
  if (!found.curve) return [el("p", { className: "soft" }, "This is shown once every label has at least 8 pictures that were taught here, on different occasions.")];
  const { sizes, accuracy, low, high } = found.curve, W = 480, H = 240, L = 54, B = 40;
  const least = Math.max(0, Math.floor(10 * Math.min(...low)) / 10), most = Math.max(...sizes);
  const x = (size) => L + (W - L - 12) * size / most, y = (share) => 10 + (H - B - 10) * (1 - (share - least) / (1 - least));
  const path = (values) => values.map((value, place) => `${place ? "L" : "M"}${x(sizes[place]).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const shape = (name, about, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(about)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  };
  const last = sizes.length - 1;
  const drawing = shape("svg", { viewBox: `0 0 ${W} ${H}`, class: "curve", role: "img", "aria-label": `With ${Math.round(sizes[last])} pictures of each label, ${percent(accuracy[last])} are named correctly.` });
  for (const share of [least, (1 + least) / 2, 1]) {
    drawing.append(shape("line", { class: "axis", x1: L, x2: W - 12, y1: y(share), y2: y(share) }), shape("text", { x: L - 6, y: y(share) + 4, "text-anchor": "end" }, percent(share)));
  }
  const back = [...high].map((_, place) => place).reverse().map((place) => `L${x(sizes[place]).toFixed(1)} ${y(low[place]).toFixed(1)}`).join("");
  drawing.append(shape("path", { class: "band", d: `${path(high)}${back}Z` }), shape("path", { class: "line", d: path(accuracy) }));
  sizes.forEach((size, place) => drawing.append(shape("circle", { cx: x(size), cy: y(accuracy[place]), r: 3.5 })));
  drawing.append(shape("text", { x: (W + L) / 2, y: H - 6, "text-anchor": "middle" }, "pictures of each label"), shape("text", { x: x(sizes[0]), y: H - B + 16, "text-anchor": "middle" }, String(Math.round(sizes[0]))), shape("text", { x: x(most), y: H - B + 16, "text-anchor": "end" }, String(Math.round(most))));
  const words = (found.advice ?? []).slice(0, 3).map((one) => el("p", { className: "small" }, one.label === null
    ? `Twice as many pictures of every label would get about ${(100 * Math.max(0, one.gain)).toFixed(1)} more of 100 pictures right.`
    : `${plural(one.more, "more picture")} of “${one.label}” would get about ${(100 * one.gain).toFixed(1)} more of 100 pictures right.`));
  return [drawing, ...words];
}

// ---- versions ----------------------------------------------------------------------------------------------------

async function history() {
  const found = await trying(() => get("history"));
  if (!found) return;
  const serving = found.find((one) => one.serving).generation;
  $("history").replaceChildren(...found.map((one) => {
    const share = one.loo_accuracy === null ? "not measurable yet" : `${percent(one.loo_accuracy)} ${one.scope === "local" ? "of them " : ""}correct`;
    const about = el("div", {}, el("strong", {}, `Version ${one.generation}`), el("div", { className: "soft small" }, `${when(one.created)}, ${plural(one.local_examples, "picture")} taught here, ${share}`),
      one.promoted ? null : el("div", { className: "small" }, `Kept aside: ${one.refusal}`),
      one.usable ? null : el("div", { className: "soft small" }, "Deleted, because it had learned something that was forgotten."));
    const end = one.serving ? el("span", { className: "pill" }, "answers now")
      : !one.usable ? ""
        : el("button", { type: "button", onclick: () => back(one.generation, serving) }, one.generation < serving ? "Go back to it" : "Use it");
    return el("li", { className: one.serving ? "serving" : "" }, about, end);
  }));
}

async function back(generation, serving) {
  const done = await trying(() => post("rollback", { generation, serving }));
  if (done) toast(`Version ${generation} answers from now on.`, "Undo", () => trying(async () => { await post("rollback", { generation: serving, serving: generation }); refresh(); }));
  refresh();
}

// ---- the fleet ---------------------------------------------------------------------------------------------------

let store = null;

async function fleet() {
  const found = await trying(() => get("fleet"));
  if (!found?.url) return;
  store = found.url;
  const sent = found.contributed ? `Sent ${when(found.contributed)}.` : "Nothing was sent yet.";
  const serves = !found.release ? "" : found.verdict === "accepted" ? ` Uses release ${found.release}.` : ` Release ${found.release} was refused: ${found.why}`;
  $("fleet-text").textContent = sent + serves;
  $("fleet").hidden = false;
}

async function takePart(button, what, said) {
  button.disabled = true;
  const done = await trying(() => post(`fleet/${what}`, { url: store }));
  button.disabled = false;
  if (done) toast(said(done));
  await fleet();
  refresh();
}

$("contribute").addEventListener("click", (event) => takePart(event.currentTarget, "contribute", (done) => done.sent
  ? `Sent: what ${plural(done.examples, "picture")} taught. The pictures themselves stay here.` : "Nothing new: everything was sent before."));
$("take").addEventListener("click", (event) => takePart(event.currentTarget, "follow", (done) => done.release === null
  ? "There is nothing for this device." : done.verdict === "refused" ? `Release ${done.release} was refused: ${done.why}` : done.new ? `Release ${done.release} is in use now.` : `Release ${done.release} is in use already.`));
fleet();

$("logout").addEventListener("click", async () => { await trying(() => post("logout")); location.href = "login"; });
