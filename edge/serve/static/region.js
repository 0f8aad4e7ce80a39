// The part of the picture that is looked at: drawn on the picture by mouse or finger, or as four numbers.

import { $, follow, plural, post, refresh, state, toast, trying } from "./lib.js";
import { pictureBox, placeAgain, within } from "./view.js";

const SIDES = ["left", "top", "width", "height"];
let drawn = null, start = null, touched = false;

$("region").addEventListener("toggle", () => {
  $("drawing").hidden = !$("region").open;
  touched = false;
  take();
  placeAgain();
});

/** Take over what the device looks at now. */
function take() {
  const now = state()?.home.region;
  drawn = now ? now.split(",").map(Number) : null;
  show();
}

function show() {
  $("drawing-part").hidden = !drawn;
  if (drawn) within($("drawing-part"), drawn);
  SIDES.forEach((side, place) => { $(side).value = (100 * (drawn ?? [0, 0, 1, 1])[place]).toFixed(1).replace(/\.0$/, ""); });
}
follow((now) => { if (now && $("region").open && !touched) take(); });

function point(event) {
  const box = pictureBox(), outer = $("view").getBoundingClientRect();
  const inside = (value) => Math.min(1, Math.max(0, value));
  return [inside((event.clientX - outer.left - box.left) / box.width), inside((event.clientY - outer.top - box.top) / box.height)];
}

const area = $("drawing");
area.addEventListener("pointerdown", (event) => {
  if (!pictureBox()) return;
  area.setPointerCapture(event.pointerId);
  start = point(event);
  touched = true;
});
area.addEventListener("pointermove", (event) => {
  if (!start) return;
  const [x, y] = point(event), [x0, y0] = start;
  drawn = [Math.min(x, x0), Math.min(y, y0), Math.abs(x - x0), Math.abs(y - y0)];
  show();
});
for (const kind of ["pointerup", "pointercancel"]) {
  area.addEventListener(kind, () => {
    start = null;
    if (drawn && (drawn[2] < 0.02 || drawn[3] < 0.02)) take(); // a tap is no rectangle
  });
}
for (const side of SIDES) {
  $(side).addEventListener("input", () => {
    touched = true;
    const part = SIDES.map((one) => Number($(one).value) / 100);
    if (part.every(Number.isFinite)) {
      drawn = part;
      $("drawing-part").hidden = false;
      within($("drawing-part"), drawn);
    }
  });
}

async function put(region) {
  const was = state().home.region;
  const done = await trying(() => post("region", { region, was }));
  touched = false;
  if (!done) return;
  state().home.region = done.region; // what the next change is compared with
  await refresh();
  take();
  toast(done.others ? `${plural(done.others, "picture")} showed another part. Teach a few new ones of each label.` : "Only this part is used from now on.");
}
$("region-save").addEventListener("click", () => {
  if (!drawn) { toast("First draw a rectangle on the picture, or write the four numbers."); return; }
  const [left, top, width, height] = drawn.map((value) => Math.round(value * 1e4) / 1e4);
  put([left, top, Math.min(width, 1 - left), Math.min(height, 1 - top)].map((value) => value.toFixed(4)).join(","));
});
$("region-whole").addEventListener("click", () => put("whole"));
