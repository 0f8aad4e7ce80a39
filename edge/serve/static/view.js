// The live picture: the next frame is asked for when the last one is drawn, so a slow phone gets fewer.

import { $, follow, raw, Refused } from "./lib.js";

let number = 0, address = null;
export const frameNumber = () => number;
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function run() {
  for (;;) {
    if (document.hidden) { await pause(300); continue; }
    try {
      const got = await raw(`frame?after=${number}`);
      if (got.status !== 200) { await pause(200); continue; }
      const image = $("picture"), next = URL.createObjectURL(await got.blob());
      image.src = next;
      await image.decode().catch(() => {});
      if (address) URL.revokeObjectURL(address);
      address = next;
      number = Number(got.headers.get("Edge-Frame"));
      image.hidden = false;
      $("empty").hidden = true;
      place();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      await pause(1000);
    }
  }
}

let last = null; // while the next frame is being decoded, the picture has no size of its own

/** Where the picture itself lies within its box, in pixels of the page. */
export function pictureBox() {
  const image = $("picture"), box = image.getBoundingClientRect(), outer = $("view").getBoundingClientRect();
  if (!image.naturalWidth || !box.width) return last;
  const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
  const width = image.naturalWidth * scale, height = image.naturalHeight * scale;
  last = { left: box.left - outer.left + (box.width - width) / 2, top: box.top - outer.top + (box.height - height) / 2, width, height };
  return last;
}

/** Put an element over the picture. */
export function over(element) {
  const box = pictureBox();
  if (!box) return;
  for (const side of ["left", "top", "width", "height"]) element.style[side] = `${box[side]}px`;
}

/** Put a rectangle of fractions within an element. */
export function within(element, part) {
  const [left, top, width, height] = part;
  element.style.left = `${100 * left}%`;
  element.style.top = `${100 * top}%`;
  element.style.width = `${100 * width}%`;
  element.style.height = `${100 * height}%`;
}

let region = null;
function place() {
  $("frame").hidden = !region || !$("drawing").hidden || $("picture").hidden;
  if (!$("frame").hidden) {
    over($("frame"));
    within($("frame-part"), region);
  }
  if (!$("drawing").hidden) over($("drawing"));
}
export const placeAgain = place;
addEventListener("resize", place);

const WORDS = {
  gone: (camera) => `The camera does not answer. ${camera.text}`,
  frozen: (camera) => camera.text,
  unreadable: (camera) => camera.text,
};

follow((now) => {
  if (!now) { $("dot").hidden = true; return; }
  const { camera } = now, said = WORDS[camera.state];
  $("banner").hidden = !said;
  const text = said ? said(camera) : "";
  if ($("banner").textContent !== text) $("banner").textContent = text;
  $("view").classList.toggle("lost", Boolean(said));
  $("dot").hidden = camera.state !== "there" || !now.frame;
  $("dot").textContent = now.recording ? "recording" : camera.live ? "live" : "newest picture";
  $("view").classList.toggle("recording", Boolean(now.recording));
  region = now.home.region ? now.home.region.split(",").map(Number) : null;
  if ($("picture").hidden) {
    $("empty").textContent =
      camera.state === "none" ? "There is no camera. Start edge serve with a camera to see its picture here. You can teach photos without one."
        : camera.state === "ended" ? "The video has ended."
          : camera.live ? "Waiting for the camera …" : "Waiting for the first picture …";
  }
  place();
});
run();
