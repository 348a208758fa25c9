// Small ways to find and build elements. Text only ever goes in as text.

import { changeText, clockText } from "./figures.js";

export const find = (selector, root = document) => root.querySelector(selector);
export const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];

/** element("li", { class: "row", dataset: {…} }, "text", child, …) */
export function element(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "dataset") Object.assign(made.dataset, value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Write text only where it differs, and show for a moment which way a figure went. */
export function setFigure(target, text, direction = 0) {
  if (!target || target.textContent === text) return;
  target.textContent = text;
  if (direction === 0) return;
  target.classList.remove("flash-up", "flash-down");
  void target.offsetWidth; // Restarts the animation.
  target.classList.add(direction > 0 ? "flash-up" : "flash-down");
}

/** How far the last price has come since that of 24 hours ago, which the server left in data-before. */
export function showChange(target, last) {
  if (!target || last === null) return;
  const change = last - Number(target.dataset.before);
  setFigure(target, changeText(change));
  target.classList.toggle("up", change > 0);
  target.classList.toggle("down", change < 0);
}

/** The JSON that the server left in <script type="application/json" id="…">. */
export function embedded(id) {
  const script = document.getElementById(id);
  return script ? JSON.parse(script.textContent) : null;
}

/** Call at most once in `ms`, with the last call never lost. */
export function debounced(callback, ms) {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => callback(...args), ms);
  };
}

/** The server writes times in UTC; people read them in their own. */
export function showLocalTimes(root) {
  for (const time of findAll("time[data-clock]", root)) time.textContent = clockText(time.dateTime);
}

/** Put the page's own HTML for one part in place of what is there; false if it could not be had. */
export async function refreshPart(target, url) {
  try {
    const response = await fetch(url, { headers: { "X-Part": "1" }, credentials: "same-origin" });
    if (!response.ok || response.redirected) return false;
    target.innerHTML = await response.text(); // Escaped by the server's templates.
    showLocalTimes(target);
    target.removeAttribute("aria-busy");
    return true;
  } catch {
    return false;
  }
}
