// What the modules of one page share: its feed, who is signed in, and short messages.

import { call } from "./api.js";
import { element, find } from "./dom.js";
import { Feed } from "./feed.js";

export const signedIn = document.body.hasAttribute("data-signed-in");

const scheme = location.protocol === "https:" ? "wss" : "ws";
const port = document.body.dataset.wsPort;
const host = port ? `${location.hostname}:${port}` : location.host;

export const feed = new Feed(`${scheme}://${host}/ws/v1`, {
  ticket: signedIn ? async () => (await call("POST", "/ws-ticket")).ticket : null,
});

/** Orders whose end this page has shown itself, so that a notification need not say it again. */
export const announced = new Set();

const TOAST_MS = 7_000;
const MAX_TOASTS = 4;

/** A message in the corner; kinds: "", "success", "error", "warn". Errors stay until they are closed. */
export function toast(title, body = "", kind = "") {
  const close = element("button", { class: "icon-button", type: "button", "aria-label": "Close" }, "✕");
  const box = element(
    "div",
    { class: `toast ${kind}` },
    element("div", {}, element("strong", {}, title), body ? element("p", {}, body) : null),
    close,
  );
  close.addEventListener("click", () => box.remove());
  if (kind !== "error") setTimeout(() => box.remove(), TOAST_MS);
  const toasts = find("#toasts");
  toasts.append(box);
  while (toasts.children.length > MAX_TOASTS) toasts.firstElementChild.remove();
}
