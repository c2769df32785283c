"use strict";
// What pages can do beyond what they do without a script: copy, say how long ago something was, submit a choice at once,
// and show what has changed. Nothing here knows what a page is about.

const PACE = { busy: [2000, 2000], resting: [4000, 30000] };

// Shows what only a script makes work, and times as people say them.
function attend(root) {
  for (const button of root.querySelectorAll("button.copy")) button.hidden = false;
  for (const time of root.querySelectorAll("time[datetime]")) time.textContent = ago(time);
}

function ago(time) {
  const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
  if (Math.abs(seconds) >= 14 * 86400) return time.title;
  for (const [unit, length] of units) {
    if (Math.abs(seconds) >= length) return format.format(Math.trunc(seconds / length), unit);
  }
  return seconds > 0 ? "in a moment" : "just now";
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button || button.textContent !== "Copy") return;
  const field = document.getElementById(button.dataset.copyFrom ?? "");
  const [label, name] = [button.textContent, button.ariaLabel];
  try {
    await navigator.clipboard.writeText(field ? field.value : button.dataset.copy);
    button.textContent = button.ariaLabel = "Copied";
  } catch {
    button.textContent = button.ariaLabel = "Cannot copy";
  }
  setTimeout(() => { [button.textContent, button.ariaLabel] = [label, name]; }, 2000);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (event.target.dataset.sent) return event.preventDefault();
  event.target.dataset.sent = "yes";
  if (event.submitter) event.submitter.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
});

// The page is read again while something happens, and its live parts take the place of the old ones.
const main = document.getElementById("content");
const known = new Map();
let etag = null;
let wait = 0;
let timer = 0;

function isTouched(part) {
  return [...part.querySelectorAll("input:not([type=hidden]), select")].some((field) =>
    field === document.activeElement || field.value !== field.defaultValue && field.type !== "checkbox" && field.localName === "input");
}

function renew(part, fresh) {
  const open = new Map([...part.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
  const active = part.contains(document.activeElement) ? document.activeElement : null;
  const place = active && [...part.querySelectorAll("a, button, input, summary")].indexOf(active);
  part.replaceChildren(...fresh.childNodes);
  for (const one of part.querySelectorAll("details[id]")) one.open = open.get(one.id) ?? one.open;
  attend(part);
  if (active) part.querySelectorAll("a, button, input, summary")[place]?.focus({ preventScroll: true });
}

async function look() {
  const [least] = PACE[main.dataset.pace] ?? [];
  if (!least) return;
  try {
    const headers = etag ? { "If-None-Match": etag } : {};
    const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.status === 404) return location.reload();
    if (answer.status === 200) {
      etag = answer.headers.get("ETag");
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      main.dataset.pace = page.getElementById("content")?.dataset.pace ?? "";
      for (const fresh of page.querySelectorAll("[data-live][id]")) {
        const part = document.getElementById(fresh.id);
        const text = fresh.innerHTML;
        if (!part || known.get(fresh.id) === text || isTouched(part)) continue;
        known.set(fresh.id, text);
        renew(part, fresh);
        wait = 0;
      }
    }
  } catch {
    // The network is away for a moment; the next look tells.
  }
  rest();
}

function rest() {
  const [least, most] = PACE[main.dataset.pace] ?? [];
  clearTimeout(timer);
  if (!least || document.hidden) return;
  wait = Math.min(most, Math.max(least, wait * 1.3));
  timer = setTimeout(look, wait);
}

// An invitation's token stands behind the # of its link, and is sent to nobody by that.
const fragment = document.querySelector("input[data-fragment]");
if (fragment && location.hash.length > 1) fragment.value = decodeURIComponent(location.hash.slice(1));

// The answer to a form gets the address of what it shows, so that loading it again sends nothing again.
const shown = document.querySelector("[data-address]");
if (shown) history.replaceState(null, "", shown.dataset.address);

for (const part of document.querySelectorAll("[data-live][id]")) known.set(part.id, part.innerHTML);
attend(document);
setInterval(() => { for (const time of document.querySelectorAll("time[datetime]")) time.textContent = ago(time); }, 20000);
document.addEventListener("visibilitychange", () => { wait = 0; if (document.hidden) clearTimeout(timer); else look(); });
rest();
