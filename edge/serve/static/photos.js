// Photos from the phone or by drag and drop: four on their way at a time, each with its progress and what is said of it.

import { $, el, follow, post, refresh, state, toast, trying } from "./lib.js";

const AT_ONCE = 4;
const waiting = [];
let running = 0, chosen = "";
const select = $("photo-label"), extra = [];

function fill() {
  const names = [...new Set([...state().home.labels.map((one) => one.label), ...extra])];
  const wanted = ["", ...names, "\0"];
  if ([...select.options].map((option) => option.value).join("\n") === wanted.join("\n")) return;
  select.replaceChildren(el("option", { value: "" }, "choose …"), ...names.map((name) => el("option", { value: name }, name)), el("option", { value: "\0" }, "a new label …"));
  select.value = chosen;
}
follow((now) => { if (now) fill(); });
addEventListener("labels", (event) => { extra.push(event.detail); chosen = event.detail; fill(); select.value = chosen; });
select.addEventListener("change", () => {
  if (select.value !== "\0") { chosen = select.value; return; }
  select.value = chosen;
  $("new").click();
  $("new-name").scrollIntoView({ block: "center" });
});

$("choose").addEventListener("click", () => { if (ready()) $("file").click(); });
$("file").addEventListener("change", () => { add([...$("file").files]); $("file").value = ""; });
for (const kind of ["dragover", "dragenter"]) $("drop").addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
for (const kind of ["dragleave", "drop"]) $("drop").addEventListener(kind, () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", (event) => { event.preventDefault(); if (ready()) add([...event.dataTransfer.files]); });

function ready() {
  if (chosen) return true;
  toast("First choose what the photos show.");
  select.focus();
  return false;
}

function add(files) {
  for (const file of files) {
    const image = el("img", { alt: "" }), address = URL.createObjectURL(file);
    image.src = address;
    image.addEventListener("error", () => image.replaceWith(el("span", { className: "blank" })));
    image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    const bar = el("progress", { max: "1", value: "0", "aria-label": `Progress of ${file.name}` }), said = el("div", { className: "small" }, "waiting");
    $("files").prepend(el("li", {}, image, el("div", {}, el("div", {}, `${file.name} → ${chosen}`), bar, said)));
    waiting.push({ file, bar, said, label: chosen });
  }
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    send(waiting.shift()).finally(() => { running -= 1; next(); if (!running) refresh(); });
  }
}

function send(one) {
  one.said.textContent = "uploading";
  return new Promise((resolve) => {
    const request = new XMLHttpRequest(); // fetch does not tell how far an upload is
    request.open("POST", `photo?${new URLSearchParams({ label: one.label, name: one.file.name })}`);
    request.setRequestHeader("Content-Type", one.file.type.startsWith("image/") ? one.file.type : "image/unknown");
    request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) one.bar.value = event.loaded / event.total; });
    request.upload.addEventListener("load", () => { one.bar.value = 1; one.said.textContent = "being checked"; });
    request.addEventListener("loadend", () => { answered(one, request); resolve(); });
    request.responseType = "json";
    request.send(one.file);
  });
}

function answered(one, request) {
  const got = request.response;
  one.bar.remove();
  if (request.status === 401) { location.href = "login"; return; }
  if (request.status !== 200) {
    one.said.className = "small note bad";
    one.said.replaceChildren(got?.error ?? "The photo did not arrive. ", request.status === 0 || request.status === 503 ? el("button", { type: "button", onclick: () => { one.said.className = "small"; one.said.textContent = "waiting"; waiting.push(one); next(); } }, "Try again") : "");
  } else if (got.stored) {
    taught(one, got);
  } else if (got.upload) {
    one.said.className = "small note warn";
    one.said.replaceChildren(el("p", {}, ...got.said), el("div", { className: "row" },
      el("button", { type: "button", onclick: () => decide(one, got.upload, true) }, "Teach it anyway"),
      el("button", { type: "button", onclick: () => decide(one, got.upload, false) }, "Leave it out")));
  } else {
    one.said.className = "small note";
    one.said.textContent = got.said.join(" ");
  }
}

async function decide(one, upload, keep) {
  const got = await trying(() => post("photo/keep", { upload, keep, label: one.label, name: one.file.name }));
  if (!got) return;
  if (got.stored) taught(one, got);
  else { one.said.className = "small soft"; one.said.textContent = got.said ? got.said.join(" ") : "left out"; }
  refresh();
}

function taught(one, got) {
  const seen = got.examples.map((id) => ({ id, label: got.label }));
  one.said.className = `small note ${got.said.length ? "warn" : "good"}`;
  one.said.replaceChildren(`Taught as “${got.label}”. `, ...got.said, el("button", { type: "button", className: "plain", onclick: async () => {
    if (!await trying(() => post("undo", { examples: seen }))) return;
    one.said.className = "small soft";
    one.said.textContent = "taken back";
    refresh();
  } }, "Undo"));
}
