// The market list: search while typing, more cards on demand, and live prices of the cards in view.

import { debounced, find, findAll, setFigure, showChange } from "./dom.js";
import { chanceOf, chanceText, compactMoneyText, pipsOf, priceText, quoteOf } from "./figures.js";
import { feed } from "./session.js";

const results = find("#results");
const form = find("#filters");

// Live prices --------------------------------------------------------------------------------------

const leaving = new Map();

function showTicker(card, data) {
  const known = findAll("[data-outcome]", card);
  for (const target of known) {
    const outcome = data[target.dataset.outcome];
    if (!outcome) continue;
    const quote = quoteOf(outcome);
    const chance = chanceOf(quote);
    if (target.dataset.figure === "ask") setFigure(target, priceText(quote.ask));
    else if (target.dataset.figure === "bar") target.setAttribute("width", chance === null ? "0" : `${chance / 100}%`);
    else if (target.dataset.figure === "change") showChange(target, quote.last);
    else showChance(target, chance);
  }
  setFigure(find('[data-figure="volume"]', card), compactMoneyText(pipsOf(data.volume)));
}

function showChance(target, chance) {
  const before = target.dataset.pips === undefined ? chance : Number(target.dataset.pips);
  if (chance !== null) target.dataset.pips = String(chance);
  setFigure(target, chanceText(chance), chance === null ? 0 : Math.sign(chance - before));
}

const watcher = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && !leaving.has(target)) {
        leaving.set(target, feed.subscribe("ticker", target.dataset.market, (data) => showTicker(target, data)));
      } else if (!isIntersecting) {
        leaving.get(target)?.();
        leaving.delete(target);
      }
    }
  },
  { rootMargin: "200px" },
);

function watchCards() {
  for (const [card, leave] of leaving) {
    if (card.isConnected) continue;
    leave();
    leaving.delete(card);
    watcher.unobserve(card);
  }
  for (const card of findAll(".market-card", results)) {
    if (card.dataset.status === "open" || card.dataset.status === "suspended") watcher.observe(card);
  }
}

// Search and paging --------------------------------------------------------------------------------

let asked = 0;

async function part(url) {
  const response = await fetch(url, { headers: { "X-Part": "1" }, credentials: "same-origin" });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.text();
}

async function search() {
  asked += 1;
  const turn = asked;
  const wanted = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  const url = `/?${wanted}`;
  results.setAttribute("aria-busy", "true");
  try {
    const html = await part(url);
    if (turn !== asked) return;
    results.innerHTML = html; // Escaped by the server's templates.
    history.replaceState(null, "", url);
    watchCards();
    const count = findAll(".market-card", results).length;
    find("#found").textContent = `${count}${find("#more") ? " or more" : ""} markets found`;
  } catch {
    if (turn === asked) form.submit();
  } finally {
    if (turn === asked) results.removeAttribute("aria-busy");
  }
}

async function showMore(link) {
  link.setAttribute("aria-busy", "true");
  try {
    const page = new DOMParser().parseFromString(await part(link.href), "text/html");
    const grid = find(".market-grid", results);
    const first = find(".market-card a", page);
    grid.append(...findAll(".market-grid > li", page));
    find(".paging", results).replaceWith(...findAll(".paging", page));
    first?.focus();
    watchCards();
  } catch {
    location.assign(link.href);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
find("#search").addEventListener("input", debounced(search, 250));
form.addEventListener("change", (event) => {
  if (event.target.id !== "search") search();
});
results.addEventListener("click", (event) => {
  const link = event.target.closest("#more");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  showMore(link);
});

watchCards();
