// Keeps the page as the daemon has it: asks again every two seconds and takes over only what changed, so that
// focus, selection and what is unfolded stay. Without it the page is whole, and as old as it was loaded.
"use strict";

const PERIOD_MS = 2000;
const ANSWER_MS = 5000;
const KEPT = new Set(["open"]); // of a <details>: the reader's, not the daemon's

let tag = null;
let heardAt = null; // by the reader's clock
let skewMs = 0; // what the daemon's clock is ahead
let timer = null;
let asking = false;

async function refresh() {
  clearTimeout(timer);
  if (document.hidden || asking) return;
  asking = true;
  try {
    const headers = tag === null ? {} : { "If-None-Match": tag };
    const answer = await fetch("./", { headers, cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.status !== 304) {
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      show(await answer.text());
      tag = answer.headers.get("ETag");
    }
    const date = Date.parse(answer.headers.get("Date"));
    if (!Number.isNaN(date)) skewMs = date - Date.now();
    heardAt = Date.now();
  } catch {
    // said by tell(), which counts the time since then
  } finally {
    asking = false;
    timer = setTimeout(refresh, PERIOD_MS);
    tell();
  }
}

function show(page) {
  const next = new DOMParser().parseFromString(page, "text/html");
  if (next.documentElement.dataset.version !== document.documentElement.dataset.version) {
    location.reload(); // another version of the daemon brings another script
    return;
  }
  if (document.title !== next.title) document.title = next.title;
  merge(document.querySelector("main"), next.querySelector("main"));
}

function merge(old, next) {
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.classList.contains("ago")) return; // filled here
  const waiting = new Map();
  for (const child of old.children) if (child.id) waiting.set(child.id, child);
  let at = old.firstChild;
  for (const wanted of [...next.childNodes]) {
    const known = wanted.id ? waiting.get(wanted.id) : null;
    if (known && known !== at) old.insertBefore(known, at);
    const here = known ?? at;
    if (here && alike(here, wanted)) {
      if (here.nodeType === Node.TEXT_NODE) {
        if (here.data !== wanted.data) here.data = wanted.data;
      } else if (!here.isEqualNode(wanted)) {
        merge(here, wanted);
      }
      at = here.nextSibling;
    } else {
      old.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id ?? "") === (b.id ?? "");
}

// Ages, by the daemon's clock; and whether it answers.
function tell() {
  const now = (Date.now() + skewMs) / 1000;
  for (const ago of document.querySelectorAll(".ago")) {
    const seconds = Math.max(0, now - Number(ago.dataset.since));
    const old = seconds > Number(ago.dataset.oldAfter ?? Infinity);
    const text = `(${span(seconds)} ago${old ? ": old" : ""})`;
    if (ago.textContent !== text) ago.textContent = text;
    ago.classList.toggle("old", old);
  }
  const silent = heardAt === null ? 0 : Date.now() - heardAt;
  const lost = silent > PERIOD_MS + ANSWER_MS;
  document.documentElement.classList.toggle("lost", lost);
  document.getElementById("live").hidden = lost || heardAt === null;
  const told = document.getElementById("lost");
  const text = lost ? "The daemon does not answer" : "";
  if (told.textContent !== text) told.textContent = text;
  const since = document.getElementById("silent");
  since.textContent = lost ? `last heard ${span(silent / 1000)} ago` : "";
}

function span(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = Math.max(0, units.findIndex(([, size]) => seconds >= size));
  const [name, size] = seconds < 1 ? units[3] : units[first];
  const whole = Math.floor(seconds / size);
  const next = units[first + 1];
  const rest = seconds < 60 || !next || whole >= 10 ? 0 : Math.floor((seconds % size) / next[1]);
  return `${whole} ${name}${rest && name !== "min" ? ` ${rest} ${next[0]}` : ""}`;
}

function unfold(address) {
  const details = document.getElementById(`more-${address}`);
  if (!details) return;
  details.open = true;
  details.querySelector("summary").focus({ preventScroll: true });
  document.getElementById(`gpu-${address}`).scrollIntoView({ block: "nearest" });
}

document.addEventListener("click", (event) => {
  if (event.target.closest("a, summary, .detail") || String(getSelection())) return;
  const drawn = event.target.closest("[data-gpu]");
  if (drawn) return unfold(drawn.dataset.gpu);
  const details = event.target.closest("tr.gpu")?.parentElement.querySelector("details");
  if (details) details.open = !details.open;
});
document.addEventListener("visibilitychange", refresh);
document.documentElement.classList.add("js");
setInterval(tell, 1000);
refresh();
