// Watch: what the camera shows, how sure that is, why, and what changed lately.

import { $, dialog, el, enlarge, follow, get, percent, tile, trying, when } from "./lib.js";
import "./view.js";

const sure = (share) => (share >= 0.9 ? "It is sure." : share >= 0.7 ? "It is fairly sure." : "It is not sure.");
let shown = -1;

follow((now, changed) => {
  if (!now) return;
  const seen = now.answer, name = $("name");
  $("answer-title").textContent = ["gone", "frozen", "ended"].includes(now.camera.state) ? "What the camera showed last" : "What the camera shows";
  $("why").disabled = !seen;
  if (!seen) {
    put(name, "…", true);
    $("how-sure").textContent = now.camera.state === "none" ? "Without a camera there is nothing to name." : "No picture has been looked at yet.";
    $("bars").replaceChildren();
  } else {
    const settled = seen.settled;
    const unknown = settled === "unknown" || (settled === null && seen.unknown);
    put(name, settled === null ? "Looking …" : unknown ? "Unknown" : settled, settled === null || unknown);
    $("how-sure").textContent = unknown ? "It looks like nothing that was taught."
      : settled === null ? "The last pictures do not agree yet."
        : seen.label === settled ? `${percent(seen.probability)}. ${sure(seen.probability)}` : "The newest picture may show something else.";
    bars(seen.top.slice(0, 4));
  }
  const drift = now.home.drift;
  $("drift").hidden = !(drift && drift.drifted);
  if (!$("drift").hidden) {
    $("drift").textContent = `Recent pictures look unlike the taught ones${drift.look ? ` (most are ${drift.look})` : ""}. If the camera was moved or the light has changed, teach a few new pictures of every label.`;
  }
  if (now.change !== shown || changed) {
    shown = now.change;
    changes();
  }
});

function put(element, text, unsure) {
  if (element.textContent !== text) element.textContent = text; // a screen reader says it only when it changes
  element.classList.toggle("unsure", unsure);
}

function bars(top) {
  $("bars").replaceChildren(...top.map((guess) => el("li", {},
    el("span", { title: guess.label }, guess.label),
    el("meter", { min: "0", max: "1", value: guess.probability, "aria-label": guess.label }),
    el("span", {}, percent(guess.probability)))));
}

async function changes() {
  const found = await trying(() => get("changes"));
  if (!found) return;
  $("no-changes").hidden = found.length > 0;
  $("changes").replaceChildren(...found.map((one) => {
    const name = one.settled === "unknown" ? "Unknown" : one.settled, title = `${name}, ${when(one.time)}`;
    return el("li", {},
      tile(`changes/${one.number}.jpg`, `Enlarge: ${title}`, { onclick: () => enlarge(`changes/${one.number}.jpg`, title) }),
      el("div", {}, el("strong", {}, name), el("div", { className: "soft small" }, `${when(one.time)}${one.settled === "unknown" ? "" : `, ${percent(one.probability)}`}`)));
  }));
}

$("why").addEventListener("click", async () => {
  const why = await trying(() => get("why"));
  if (!why) return;
  const name = why.unknown ? "unknown" : why.label ?? "unknown";
  const near = why.nearest.map((one) => {
    const alike = one.similarity > 0.8 ? "very alike" : one.similarity > 0.5 ? "alike" : "a little alike";
    return el("li", {}, one.example === null
      ? el("div", { className: "tile" }, el("span", { className: "none" }, "from the bundle, no picture here"), el("span", { className: "cap" }, one.label))
      : tile(`examples/${one.example}.jpg`, `${one.label}, ${alike}`, { onclick: () => enlarge(`examples/${one.example}.jpg`, `${one.label}: ${alike}`) }, el("span", { className: "cap" }, one.label)));
  });
  dialog(`Why ${name}?`, [
    el("p", { className: "soft" }, why.unknown ? "These taught pictures come nearest, but none of them is near enough." : "These taught pictures are nearest to what the camera shows now."),
    el("ul", { className: "grid" }, ...near),
  ], [["Close", null]]);
});
