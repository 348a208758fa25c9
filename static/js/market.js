// One market's page: feed, book, chart, trades, ticket and the user's holdings, put together.

import { PriceAlerts } from "./alerts.js";
import { call, explain } from "./api.js";
import { Book, ladderOf } from "./book.js";
import { BookView } from "./book-view.js";
import { Chart } from "./chart.js";
import { element, embedded, find, findAll, setFigure, showChange } from "./dom.js";
import { chanceOf, chanceText, clockText, compactMoneyText, pipsOf, priceText, quoteOf, SHARE_PIPS, sharesText } from "./figures.js";
import { pricesSince } from "./history.js";
import { Holdings } from "./holdings.js";
import { feed, signedIn } from "./session.js";
import { Ticket } from "./ticket.js";

const market = embedded("market-config");
const { market_id: marketId, outcomes } = market;
const isBinary = outcomes.length === 2;
const CHART_TRADES = 500;
const CHART_LINES = 5;
const SHOWN_TRADES = 12;
const REFRESH_MS = 15_000;
const WITHOUT_FEED_MS = 5_000;

// Order book ---------------------------------------------------------------------------------------

const book = new Book(outcomes);
const ladder = (outcome) => ladderOf(book, outcomes, outcome, pipsOf, SHARE_PIPS);
const shownOutcome = find("#book-outcome");
const view = market.has_book ? new BookView(find("#book"), (pips, side) => pick({ outcome: shownOutcome.value, side, pips })) : null;
if (view) {
  shownOutcome.value = market.leading;
  shownOutcome.addEventListener("change", showBook);
}

function ownLevels() {
  const own = new Set();
  for (const order of findAll("[data-order]", document)) {
    const { outcome, side, price } = order.dataset;
    const bookSide = side === "buy" ? "bid" : "ask";
    if (outcome === shownOutcome.value) own.add(`${bookSide}|${price}`);
    else if (isBinary) own.add(`${bookSide === "bid" ? "ask" : "bid"}|${SHARE_PIPS - Number(price)}`);
  }
  return own;
}

function showBook() {
  view?.show(ladder(shownOutcome.value), ownLevels());
}

let drawing = false;
function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    showBook();
    ticket.refresh();
  });
}

if (view) {
  feed.subscribe("book", marketId, (data) => {
    if (!book.apply(data)) return false;
    drawSoon();
    return true;
  });
}

/** While there is no feed the books are asked for: slower, but not nothing. */
async function readBooks() {
  if (!view || feed.state === "live") return;
  try {
    const names = book.names.filter((name) => isBinary || name === shownOutcome.value);
    const books = await Promise.all(names.map((name) => call("GET", `/markets/${marketId}/orderbook?${new URLSearchParams({ outcome: name, depth: "50" })}`)));
    if (feed.state === "live") return;
    for (const { outcome, bids, asks } of books) {
      book.sides.set(outcome, { bid: new Map(bids), ask: new Map(asks) });
    }
    drawSoon();
  } catch {
    // The indicator in the header says that prices are not live.
  }
}
setInterval(readBooks, WITHOUT_FEED_MS);

// Prices of outcomes -------------------------------------------------------------------------------

const quotes = new Map(outcomes.map((name, index) => [name, quoteOf(market.quotes[index])]));

function showQuotes() {
  for (const row of findAll("#outcomes > [data-outcome]")) {
    const quote = quotes.get(row.dataset.outcome);
    const chance = shownChance(row.dataset.outcome);
    const before = Number(row.dataset.pips ?? chance);
    if (chance !== null) row.dataset.pips = String(chance);
    setFigure(find('[data-figure="chance"]', row), chanceText(chance), chance === null ? 0 : Math.sign(chance - before));
    find('[data-figure="bar"]', row).setAttribute("width", chance === null ? "0" : `${chance / 100}%`);
    showChange(find('[data-figure="change"]', row), quote.last);
    setFigure(find('[data-figure="ask"]', row), priceText(quote.ask));
    setFigure(find('[data-figure="bid"]', row), priceText(quote.bid));
  }
  for (const target of findAll("#ticket [data-outcome]")) {
    const { ask, bid } = quotes.get(target.dataset.outcome);
    setFigure(target, priceText(ticket?.values.side === "sell" ? bid : ask));
  }
  for (const button of findAll("#trade-bar [data-outcome]")) {
    const { ask, bid } = quotes.get(button.dataset.outcome);
    setFigure(find('[data-figure="ask"]', button), priceText(ask));
    setFigure(find('[data-figure="bid"]', button), priceText(bid));
  }
  showLegend();
}

feed.subscribe("ticker", marketId, (data) => {
  for (const name of outcomes) quotes.set(name, quoteOf(data[name]));
  setFigure(find('.facts [data-figure="volume"]'), compactMoneyText(pipsOf(data.volume)));
  setFigure(find('[data-figure="interest"]'), sharesText(data.open_interest));
  showQuotes();
});

// Trades and chart ---------------------------------------------------------------------------------

const trades = new Map();
const past = new Map();
const chart = new Chart(find("#chart"));
const lines = isBinary ? [outcomes[0]] : [...outcomes].sort((a, b) => (shownChance(b) ?? -1) - (shownChance(a) ?? -1)).slice(0, CHART_LINES);

function newestFirst() {
  return [...trades.values()].sort((a, b) => b.seq - a.seq || (a.trade_id < b.trade_id ? 1 : -1));
}

/** A binary market's trades are told in the first outcome's terms. */
function priceFor(name, trade) {
  if (trade.outcome === name) return pipsOf(trade.price);
  return isBinary ? SHARE_PIPS - pipsOf(trade.price) : null;
}

function showLegend() {
  const legend = find("#legend");
  legend.classList.toggle("single", lines.length === 1);
  legend.replaceChildren(
    ...lines.map((name) => element("li", {}, lines.length === 1 ? `${name} ` : name, element("strong", {}, chanceText(shownChance(name))))),
  );
}

/** What it has paid once that is decided, else its chance. */
function shownChance(name) {
  return market.payouts_pips ? market.payouts_pips[outcomes.indexOf(name)] : chanceOf(quotes.get(name));
}

function showTrades() {
  const rows = newestFirst();
  find("#chart-empty").hidden = rows.length > 0;
  find("#chart").hidden = rows.length === 0;
  const oldestFirst = [...rows].reverse();
  const firstMs = rows.length > 0 ? Date.parse(oldestFirst[0].at) : 0;
  chart.show(
    lines.map((name) => ({
      name,
      points: [
        ...(past.get(name) ?? []).filter(([ms]) => ms < firstMs),
        ...oldestFirst.map((trade) => [Date.parse(trade.at), priceFor(name, trade)]).filter(([, pips]) => pips !== null),
      ],
    })),
  );
  const none = element("tr", {}, element("td", { class: "muted", colspan: "4" }, "No trades yet."));
  const shown = rows.slice(0, SHOWN_TRADES).map(tradeRow);
  find("#trades tbody").replaceChildren(...(shown.length ? shown : [none]));
}

function tradeRow({ outcome, price, quantity, taker_side: side, at }) {
  return element(
    "tr",
    {},
    element("td", {}, outcome),
    element("td", { class: `number ${side === "buy" ? "up" : "down"}`, title: side === "buy" ? "A buyer took it" : "A seller took it" }, priceText(pipsOf(price))),
    element("td", { class: "number" }, sharesText(quantity)),
    element("td", { class: "number muted" }, element("time", { datetime: at }, clockText(at))),
  );
}

function keep(rows) {
  for (const trade of rows) trades.set(`${trade.trade_id}|${trade.outcome}`, trade);
  if (trades.size <= 2 * CHART_TRADES) return;
  const kept = newestFirst().slice(0, CHART_TRADES);
  trades.clear();
  keep(kept);
  readPast();
}

async function readTrades() {
  try {
    const page = await call("GET", `/markets/${marketId}/trades?limit=${CHART_TRADES}`);
    keep(page.results);
    if (page.next !== null) readPast();
  } catch {
    // The feed's own recent trades are shown meanwhile.
  }
  showTrades();
}

/** What was traded before the trades that are kept, which the chart's lines begin with. */
async function readPast() {
  try {
    await Promise.all(lines.map(async (name) => past.set(name, await pricesSince(marketId, name, market.created_at_ms))));
    showTrades();
  } catch {
    // The lines begin with the trades that are kept.
  }
}

let tradesKnown = false;
feed.subscribe("trades", marketId, (rows, frame) => {
  keep(rows);
  // A fresh start may have left some out: they are looked up.
  if (frame.prev_seq === null && tradesKnown) readTrades();
  else if (tradesKnown) showTrades();
});
readTrades().then(() => {
  tradesKnown = true;
});

// Ticket and holdings ------------------------------------------------------------------------------

const mine = find("#mine");
const holdings = mine
  ? new Holdings(mine, () => {
      ticket.refresh();
      showBook();
    })
  : null;
const NOBODYS = { cash: null, shares: {} };
const ticket = new Ticket(find("#ticket"), {
  market,
  ladder,
  holdings: () => holdings?.values ?? NOBODYS,
  sent: () => holdings?.refreshSoon(),
});
find("#ticket").addEventListener("input", showQuotes);

const alerts = find("#price-alerts");
if (alerts) new PriceAlerts(alerts, marketId);

function pick(choice) {
  ticket.pick(choice);
  showQuotes();
  find("#ticket").scrollIntoView({ block: "nearest", behavior: "smooth" });
  find(choice.pips ? "#quantity" : "#price").focus({ preventScroll: true });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-pick]");
  if (!button) return;
  const outcome = button.closest("[data-outcome]").dataset.outcome;
  shownOutcome.value = outcome;
  showBook();
  pick({ outcome, side: button.dataset.pick });
});

const objection = find("#dispute");
objection?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const told = find("[role=status]", objection);
  try {
    await call("POST", objection.dataset.path, { reason: find("textarea", objection).value.trim() });
    location.reload();
  } catch (error) {
    told.textContent = explain(error);
  }
});

const bar = find("#trade-bar");
if (bar) {
  new IntersectionObserver(([{ isIntersecting }]) => {
    bar.hidden = isIntersecting;
  }).observe(find("#ticket"));
}

// Status: the feed says that it has changed, the exchange what that means ---------------------------

const REASONS = {
  draft: "Trading has not begun yet.",
  suspended: "Trading is suspended; no orders are taken.",
};
// What the page says of these is the server's.
const SHOWN_ANEW = new Set(["open", "proposed", "disputed", "reversed"]);

async function readStatus() {
  if (document.hidden) return;
  try {
    const now = await call("GET", `/markets/${marketId}`);
    setFigure(find('[data-figure="traders"]'), sharesText(now.trader_count));
    if (now.status === market.status) return;
    market.status = now.status;
    if (now.resolution || SHOWN_ANEW.has(now.status)) location.reload();
    const badge = find("#status");
    badge.textContent = now.status;
    badge.className = `badge ${now.status}`;
    find("#market").dataset.status = now.status;
    ticket.shut(REASONS[now.status] ?? "This market no longer takes orders.");
    if (bar) bar.remove();
    holdings?.refresh();
  } catch {
    // Asked again in a moment.
  }
}
setInterval(readStatus, REFRESH_MS);

feed.subscribe("lifecycle", marketId, async ({ status }) => {
  // Reads follow the feed by a moment, and not all who watch ask at the same one.
  for (const ms of [300 * Math.random(), 300, 1_000]) {
    if (status === market.status) return;
    await new Promise((resolve) => setTimeout(resolve, ms));
    await readStatus();
  }
});

const untilClose = market.closes_at_ms - Date.now();
if (untilClose > 0 && untilClose < 86_400_000) setTimeout(readStatus, untilClose + 1_000);

showQuotes();
if (!signedIn) ticket.refresh();
