// The page: what the user does, step by step. worker.js does the work, service.js the request.

import { compare, show } from "./compare.js";
import { restore } from "./service.js";
import { call } from "./work.js";

const byId = (id) => document.getElementById(id);
const settings = await (await fetch("page.json")).json(); // of page.py: service, tasks and graphs
const opened = {}; // photo and cover: { file, url, width, height, notes }
let hidden; // the last result of hiding: { stego, key, quality, lost, distance, size, photo }
const urls = {}; // of pictures that are shown or can be saved, by what they are

/** The address of some bytes; the earlier one of the same name is freed. */
function address(name, content, type = "image/png") {
  URL.revokeObjectURL(urls[name]);
  return (urls[name] = URL.createObjectURL(new Blob([content], { type })));
}

/** Runs a step of a form; its progress, and an error as one line, are shown below its button. */
async function step(form, name, work) {
  const [button, status] = [form.querySelector("button"), form.querySelector(".status")];
  const bar = document.createElement("progress");
  const progress = (share, text = name) => {
    bar.value = share;
    bar.setAttribute("aria-label", text);
    status.replaceChildren(bar, `${text} …`);
  };
  button.disabled = true;
  progress(0);
  bar.removeAttribute("value"); // until the first share is known
  try {
    await work(progress);
    say(status, []);
  } catch (error) {
    say(status, [error.message], "error");
  } finally {
    button.disabled = false;
  }
}

function say(status, lines, kind = "note") {
  const shown = lines.map((line) => Object.assign(document.createElement("p"), { textContent: line, className: kind }));
  status.replaceChildren(...shown);
}

async function open(role, file) {
  const [drop, status] = [byId(role).parentElement, byId("hide").querySelector(".status")];
  const image = drop.querySelector("img");
  const text = drop.querySelector("label span");
  delete opened[role];
  byId("hide").querySelector("button").disabled = true;
  text.textContent = `${file.name} …`;
  try {
    const size = await call("open", [role, file]);
    opened[role] = { ...size, file, url: address(role, file, file.type) };
    image.src = opened[role].url;
    text.textContent = `${file.name}, ${size.width} × ${size.height}`;
  } catch (error) {
    text.textContent = "Choose another file";
    say(status, [error.message], "error");
    return;
  } finally {
    image.hidden = !opened[role];
    drop.classList.toggle("full", !image.hidden);
  }
  say(status, Object.values(opened).flatMap(({ notes }) => notes));
  const { photo, cover } = opened;
  byId("fit").hidden = !photo || !cover || (photo.width === cover.width && photo.height === cover.height);
  byId("hide").querySelector("button").disabled = !photo || !cover;
}

for (const role of ["photo", "cover"]) {
  const [input, drop] = [byId(role), byId(role).parentElement];
  input.onchange = () => input.files[0] && open(role, input.files[0]);
  drop.ondragover = (event) => {
    event.preventDefault();
    drop.classList.add("over");
  };
  drop.ondragleave = () => drop.classList.remove("over");
  drop.ondrop = (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) open(role, event.dataTransfer.files[0]);
  };
}

byId("hide").onsubmit = (event) => {
  event.preventDefault();
  step(byId("hide"), "Hiding", async (progress) => {
    const { photo, cover } = opened;
    const fit = byId("fit").hidden ? "" : new FormData(byId("hide")).get("fit");
    hidden = await call("hide", [fit, settings.graphs], progress);
    hidden.photo = { url: address("before", photo.file, photo.file.type), label: "Photo" };
    const before = { url: cover.url, label: "Cover", fit: fit === "cover" ? "cover" : "fill" };
    const stego = { url: address("stego", hidden.stego), label: "Stego image" };
    compare(byId("hidden-in"), before, stego, hidden.size);
    byId("save-stego").href = stego.url;
    byId("save-key").href = address("key", hidden.key, "application/json");
    byId("revealed").hidden = true;
    const seen = `The stego image is ${hidden.distance.toFixed(1)} dB from the cover.`;
    const lost = `The photo is lost: it is revealed at only ${hidden.quality.toFixed(1)} dB. Choose another cover.`;
    say(byId("sending").querySelector(".status"), [hidden.lost ? lost : seen], hidden.lost ? "error" : "note");
    reach("sending", "send-title");
  });
};

byId("send").onsubmit = (event) => {
  event.preventDefault();
  step(byId("send"), "Waiting for the service", async (progress) => {
    const { stego, key, photo } = hidden;
    const request = { address: byId("address").value, allowed: settings.service, apiKey: byId("api-key").value };
    const task = new FormData(byId("hide")).get("task");
    const restored = await restore({ ...request, task, stego });
    await reveal({ name: "The answer", bytes: restored }, { name: "key", text: key }, photo, progress);
  });
};

byId("later").onsubmit = (event) => {
  event.preventDefault();
  step(byId("later"), "Revealing", async (progress) => {
    const [stego, key] = ["later-stego", "later-key"].map((id) => byId(id).files[0]);
    const bytes = new Uint8Array(await stego.arrayBuffer());
    await reveal({ name: stego.name, bytes }, { name: key.name, text: await key.text() }, null, progress);
  });
};

/** Reveals and shows a photo, next to the one that was hidden if that is known. */
async function reveal(stego, key, before, progress) {
  const found = await call("reveal", [stego, key, settings.graphs], (share) => progress(share, "Revealing"));
  const after = { url: address("revealed", found.photo), label: "Restored" };
  if (before) compare(byId("result"), before, after, found.size);
  else show(byId("result"), after);
  byId("save-photo").href = after.url;
  byId("save-restored").href = address("restored", stego.bytes);
  say(byId("revealed").querySelector(".status"), found.notes);
  reach("revealed", "result-title");
}

/** Shows a section and moves there, also for readers of the screen. */
function reach(section, title) {
  byId(section).hidden = false;
  byId(title).focus({ preventScroll: true });
  byId(section).scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

byId("address").value = settings.service;
Object.entries(settings.tasks).forEach(([value, title], i) => {
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "task", value, checked: !i });
  const label = document.createElement("label");
  label.append(input, Object.assign(document.createElement("span"), { textContent: title }));
  byId("tasks").append(label);
});
