// The order book as a table: asks above bids, the best in the middle, bars for the shares up to each price.

import { element, find } from "./dom.js";
import { priceText, sharesText } from "./figures.js";

const LEVELS = 9;

export class BookView {
  /** `picked(pips, side)` is called with the side that would trade against a clicked level. */
  constructor(table, picked) {
    this.table = table;
    this.picked = picked;
  }

  /** `own` holds the prices of the user's open orders as "bid|pips". */
  show({ bids, asks }, own = new Set()) {
    const shown = { asks: withTotals(asks.slice(0, LEVELS)), bids: withTotals(bids.slice(0, LEVELS)) };
    const most = Math.max(1, shown.asks.at(-1)?.total ?? 0, shown.bids.at(-1)?.total ?? 0);
    const rows = (side, levels) => levels.map((level) => this.#row(side, level, most, own));
    this.#fill(".asks", rows("ask", shown.asks).reverse(), "No one is selling");
    this.#fill(".bids", rows("bid", shown.bids), "No one is buying");
    find(".spread th", this.table).textContent = spreadText(bids[0], asks[0]);
    this.table.removeAttribute("aria-busy");
  }

  #fill(selector, rows, empty) {
    const none = element("tr", { class: "none" }, element("td", { colspan: "3" }, empty));
    find(selector, this.table).replaceChildren(...(rows.length ? rows : [none]));
  }

  #row(side, { pips, quantity, total }, most, own) {
    const width = (100 * total) / most;
    const bar = element("svg:rect", { height: "100%", x: `${100 - width}%`, width: `${width}%` });
    const taker = side === "ask" ? "buy" : "sell";
    const level = element("button", { class: "level", type: "button", title: `${taker === "buy" ? "Buy" : "Sell"} at ${priceText(pips)}` }, priceText(pips));
    const row = element(
      "tr",
      { class: own.has(`${side}|${pips}`) ? "own" : null },
      element("td", {}, level),
      element("td", { class: "number" }, element("span", {}, sharesText(quantity))),
      element("td", { class: "number" }, element("svg:svg", { class: "depth", "aria-hidden": "true" }, bar), element("span", {}, sharesText(total))),
    );
    row.addEventListener("click", () => this.picked(pips, taker));
    return row;
  }
}

function withTotals(levels) {
  let total = 0;
  return levels.map(([pips, quantity]) => {
    total += quantity;
    return { pips, quantity, total };
  });
}

function spreadText(bid, ask) {
  if (!bid && !ask) return "The book is empty";
  if (!bid || !ask) return "One side only";
  return `Spread ${priceText(ask[0] - bid[0])}`;
}
