// The order ticket: says what an order would cost and pay before it is sent, and sends it once.

import { explain } from "./api.js";
import { element, find, findAll } from "./dom.js";
import { coverOf, estimate, reachOf } from "./estimate.js";
import { apiText, centsText, moneyText, pipsOf, pipsOfCents, priceText, SHARE_PIPS, sharesText } from "./figures.js";
import { forget, lookUp, pendingOrders, resend, submit } from "./orders.js";
import { announced, signedIn, toast } from "./session.js";

const MAX_SHARES = 1_000_000;
const MARKET_SLACK_PIPS = 200; // A market order may be filled this much worse than the book shows now.

export class Ticket {
  /**
   * `market` is the page's configuration, `ladder(outcome)` the visible book in an outcome's own terms, `holdings()`
   * gives { cash, shares }, `sent()` is called when an order has changed something.
   */
  constructor(form, { market, ladder, holdings, sent }) {
    Object.assign(this, { form, market, ladder, holdings, sent });
    this.price = find("#price", form);
    this.quantity = find("#quantity", form);
    this.summary = find("#summary", form);
    this.warning = find("#ticket-warning", form);
    this.send = find("#send", form);
    this.state = find("#ticket-state", form);
    this.priceTouched = false;
    this.isSending = false;
    form.addEventListener("input", (event) => this.#changed(event.target));
    // A price that moves by itself must not move under somebody's hands.
    form.addEventListener("focusin", ({ target }) => {
      if (target === this.price || target === this.quantity || target === this.send) this.priceTouched = true;
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    for (const button of findAll("[data-step]", form)) button.addEventListener("click", () => this.#step(Number(button.dataset.step)));
    for (const button of findAll("[data-add]", form)) button.addEventListener("click", () => this.#add(Number(button.dataset.add)));
    find("[data-max]", form).addEventListener("click", () => this.#max());
    if (signedIn) this.#checkPending();
    this.refresh();
  }

  get values() {
    const data = new FormData(this.form);
    return { side: data.get("side"), outcome: data.get("outcome"), type: data.get("type"), tif: data.get("time_in_force") };
  }

  /** Choose an outcome and side from elsewhere on the page, and a price if one was clicked. */
  pick({ outcome, side, pips = null }) {
    const side_ = find(`input[name="side"][value="${side}"]`, this.form);
    side_.checked = true;
    const options = findAll('[name="outcome"]', this.form);
    if (options[0].tagName === "SELECT") options[0].value = outcome;
    else options.find(({ value }) => value === outcome).checked = true;
    this.priceTouched = pips !== null;
    if (pips !== null) {
      find('input[name="type"][value="limit"]', this.form).checked = true;
      this.price.value = centsText(pips);
    }
    this.refresh();
  }

  /** Shut the ticket; the reason is said where its button was. */
  shut(reason) {
    find("#ticket-fields", this.form).disabled = true;
    this.warning.hidden = true;
    let note = find("#ticket-closed", this.form);
    if (!note) {
      note = element("p", { class: "card-body muted small", id: "ticket-closed" });
      this.form.append(note);
    }
    note.textContent = reason;
  }

  /** Work everything out again: after a change of the form, the book or the holdings. */
  refresh() {
    if (find("#ticket-fields", this.form).disabled) return;
    const { side, outcome, type } = this.values;
    const isMarket = type === "market";
    find("#price-field", this.form).hidden = isMarket;
    find("#tif-field", this.form).hidden = isMarket;
    const ladder = this.ladder(outcome);
    if (!this.priceTouched && !isMarket) this.#suggestPrice(side, ladder);
    const order = this.#order(ladder);
    this.#label(order);
    this.#summarize(order);
  }

  #suggestPrice(side, ladder) {
    const best = side === "buy" ? ladder.asks[0] : ladder.bids[0];
    const other = side === "buy" ? ladder.bids[0] : ladder.asks[0];
    const pips = best?.[0] ?? other?.[0] ?? null;
    if (pips !== null && document.activeElement !== this.price) this.price.value = centsText(pips);
  }

  /** The order the form describes, with its estimate, or what is wrong with it. */
  #order(ladder) {
    const { side, outcome, type, tif } = this.values;
    const { tick_pips: tick, outcomes } = this.market;
    const quantityText = this.quantity.value.replaceAll(/[\s,]/g, "");
    const quantity = /^[0-9]{1,7}$/.test(quantityText) ? Number(quantityText) : 0;
    const quantityError = quantity >= 1 && quantity <= MAX_SHARES ? "" : `A whole number from 1 to ${sharesText(MAX_SHARES)}.`;
    const isMarket = type === "market";
    const slack = Math.ceil(MARKET_SLACK_PIPS / tick) * tick;
    const limit = isMarket ? reachOf({ side, quantity: quantity || 1, ladder, tick, slack }) : pipsOfCents(this.price.value);
    let priceError = "";
    if (!isMarket && (limit === null || limit < tick || limit > SHARE_PIPS - tick)) {
      priceError = `From ${priceText(tick)} to ${priceText(SHARE_PIPS - tick)}.`;
    } else if (!isMarket && limit % tick !== 0) {
      priceError = `In steps of ${priceText(tick)}.`;
    }
    const order = { side, outcome, type, tif: isMarket ? "IOC" : tif, quantity, limit, priceError, quantityError };
    if (priceError || quantityError || limit === null) return order;
    order.covered = coverOf({ side, outcome, outcomes, held: this.holdings().shares, quantity });
    order.estimate = estimate({
      ...order,
      ladder,
      restsInBook: order.tif === "GTC",
      takerFee: this.market.taker_fee_e4,
      makerFee: this.market.maker_fee_e4,
    });
    return order;
  }

  #label({ side, outcome, quantity, limit, type, priceError, quantityError }) {
    this.#error("price", priceError);
    this.#error("quantity", quantityError);
    if (!this.send) return;
    const what = quantity ? `${side === "buy" ? "Buy" : "Sell"} ${sharesText(quantity)} × ${outcome}` : side === "buy" ? "Buy" : "Sell";
    this.send.textContent = type === "limit" && limit !== null && !priceError ? `${what} at ${priceText(limit)}` : what;
    this.send.classList.toggle("buy", side === "buy");
    this.send.classList.toggle("sell", side === "sell");
    this.send.disabled = this.isSending || Boolean(priceError || quantityError) || limit === null;
  }

  #error(name, text) {
    const input = find(`#${name}`, this.form);
    const shown = find(`#${name}-error`, this.form);
    const isWorthSaying = text !== "" && input.value.trim() !== "";
    shown.textContent = text;
    shown.hidden = !isWorthSaying;
    input.setAttribute("aria-invalid", String(isWorthSaying));
  }

  #summarize(order) {
    const { side, outcome, type, estimate: made } = order;
    const warning = this.#warningOf(order);
    this.warning.textContent = warning;
    this.warning.hidden = warning === "";
    if (!made) {
      this.summary.replaceChildren();
      return;
    }
    const rows = [["Fills now", this.#fillsText(made), ""]];
    if (type === "market") rows.push(["No worse than", priceText(order.limit), ""]);
    else if (made.rest > 0) rows.push([order.tif === "GTC" ? "Waits in the book" : "Cancelled at once", sharesText(made.rest), ""]);
    if (made.done > 0) {
      rows.push(...this.#moneyRows(order, side, outcome, made));
    }
    this.summary.replaceChildren(
      ...rows.map(([label, text, kind]) => element("div", { class: kind }, element("dt", {}, label), element("dd", {}, text))),
    );
  }

  #moneyRows({ covered }, side, outcome, { cash, fee, done, payout }) {
    const after = cash - fee;
    const rows = [];
    if (covered > 0) rows.push([side === "sell" ? "From your shares" : "Closes shares you hold", sharesText(Math.min(covered, done)), ""]);
    const rate = Math.max(this.market.taker_fee_e4, this.market.maker_fee_e4);
    if (rate > 0) rows.push(["Fee", moneyText(fee), ""]);
    rows.push([after < 0 ? "Cost" : "You receive", moneyText(Math.abs(after)), ""]);
    if (payout > 0) {
      const right = side === "buy" ? `if ${outcome}` : `if not ${outcome}`;
      rows.push([`Pay-out ${right}`, moneyText(payout), "strong"]);
      if (covered === 0) rows.push(["Profit if right", `${moneyText(payout + after)}`, ""]);
    }
    return rows;
  }

  #fillsText({ filledNow, average, fills }) {
    if (filledNow === 0) return "nothing yet";
    const turnover = fills.reduce((sum, [pips, units]) => sum + pips * units, 0);
    const at = fills.length === 1 ? fills[0][0] : Math.round(turnover / filledNow);
    return `${sharesText(filledNow)} at ${average === null ? "–" : priceText(at)}${fills.length > 1 ? " avg" : ""}`;
  }

  #warningOf({ side, type, limit, quantity, estimate: made, quantityError }) {
    if (type === "market" && limit === null && !quantityError) {
      return side === "buy" ? "Nobody is selling at the moment. A limit order can wait in the book." : "Nobody is buying at the moment. A limit order can wait in the book.";
    }
    if (!made) return "";
    if (type === "market" && made.filledNow < quantity) return `The book offers only ${sharesText(made.filledNow)} at the moment; the rest would be cancelled.`;
    const { cash } = this.holdings();
    if (cash !== null && made.reserve > cash) return `This needs up to ${moneyText(made.reserve)}; you have ${moneyText(cash)} free.`;
    return "";
  }

  #changed(target) {
    if (target === this.price) this.priceTouched = true;
    if (target.name === "side" || target.name === "outcome") this.priceTouched = false;
    this.refresh();
    if (target.name === "type") this.priceTouched = true;
  }

  #step(direction) {
    const tick = this.market.tick_pips;
    const now = pipsOfCents(this.price.value) ?? SHARE_PIPS / 2;
    const next = Math.min(SHARE_PIPS - tick, Math.max(tick, Math.round(now / tick + direction) * tick));
    this.price.value = centsText(next);
    this.priceTouched = true;
    this.refresh();
  }

  #add(shares) {
    const now = Number(this.quantity.value.replaceAll(/[\s,]/g, "")) || 0;
    this.quantity.value = String(Math.min(MAX_SHARES, now + shares));
    this.refresh();
  }

  /** Everything a sell has shares for, or as many as the free cash buys. */
  #max() {
    const { side, outcome } = this.values;
    const { cash, shares } = this.holdings();
    const { limit } = this.#order(this.ladder(outcome));
    if (side === "sell" && shares[outcome]) this.quantity.value = String(shares[outcome]);
    else if (cash !== null && limit) {
      const own = side === "buy" ? limit : SHARE_PIPS - limit;
      const rate = Math.max(this.market.taker_fee_e4, this.market.maker_fee_e4);
      const each = own + Math.ceil((rate * limit * (SHARE_PIPS - limit)) / 100_000_000);
      this.quantity.value = String(Math.max(1, Math.min(MAX_SHARES, Math.floor(cash / each))));
    }
    this.refresh();
  }

  // Sending ----------------------------------------------------------------------------------------

  async #submit() {
    const order = this.#order(this.ladder(this.values.outcome));
    if (!order.estimate || this.isSending || !signedIn) return;
    const { side, outcome, type, tif, quantity, limit } = order;
    const body = { outcome, side, type, price: apiText(limit), quantity, time_in_force: tif };
    const text = `${side === "buy" ? "Buy" : "Sell"} ${sharesText(quantity)} × ${outcome} at ${priceText(limit)}`;
    await this.#track((onUnknown) => submit(this.market.market_id, body, text, onUnknown), text);
  }

  async #track(work, text) {
    this.isSending = true;
    this.state.replaceChildren(element("p", { class: "muted small" }, "Sending…"));
    this.refresh();
    const onUnknown = () => {
      this.state.replaceChildren(
        element("p", { class: "notice warn" }, `No answer yet for “${text}”. Its fate is unknown, checking… It is not sent twice.`),
      );
    };
    try {
      this.#conclude(await work(onUnknown), text);
    } finally {
      this.isSending = false;
      this.refresh();
    }
  }

  #conclude({ order, refusal, neverPlaced, lost }, text) {
    this.state.replaceChildren();
    if (lost) {
      this.#offerAgain(lost, text);
    } else if (neverPlaced) {
      toast("Not placed", `${text}: the exchange never took this order. You can send it again.`, "warn");
    } else if (refusal) {
      this.state.replaceChildren(element("p", { class: "notice error", role: "alert" }, explain(refusal)));
    } else {
      if (order.status === "filled") announced.add(order.order_id);
      const [title, detail, kind] = describe(order);
      toast(title, detail, kind);
    }
    this.sent();
  }

  #offerAgain(entry, text) {
    const again = element("button", { class: "button small", type: "button" }, "Send again, same order id");
    const drop = element("button", { class: "link-button small", type: "button" }, "Stop asking");
    again.addEventListener("click", () => this.#track((onUnknown) => resend(entry, onUnknown), text));
    drop.addEventListener("click", () => {
      forget(entry.id);
      this.state.replaceChildren();
    });
    this.state.replaceChildren(
      element("p", { class: "notice error", role: "alert" }, `It is still unknown whether “${text}” was placed. Sending it again under the same id cannot place it twice.`),
      element("div", { class: "quick" }, again, drop),
    );
  }

  /** Orders of this market whose answer was lost with an earlier page. */
  async #checkPending() {
    for (const entry of pendingOrders().filter(({ market }) => market === this.market.market_id)) {
      await this.#track((onUnknown) => {
        onUnknown();
        return lookUp(entry);
      }, entry.text);
    }
  }
}

/** What became of an order: [title, detail, kind of message]. */
export function describe(order) {
  const verb = order.side === "buy" ? "Bought" : "Sold";
  const at = order.average_price ? ` at ${priceText(pipsOf(order.average_price))}` : "";
  const filled = `${verb} ${sharesText(order.filled)} ${order.outcome}${at}`;
  if (order.status === "filled") return [filled, "", "success"];
  if (order.status === "open") {
    const waiting = `${sharesText(order.remaining)} ${order.outcome} at ${priceText(pipsOf(order.price))} wait in the book.`;
    return order.filled ? [filled, waiting, "success"] : ["Order placed", waiting, "success"];
  }
  if (order.status === "rejected") return ["Order refused", order.reason ?? "", "error"];
  const rest = `${sharesText(order.quantity - order.filled)} cancelled: ${(order.reason ?? "").replaceAll("_", " ")}.`;
  return order.filled ? [filled, rest, "warn"] : ["Nothing was filled", rest, "warn"];
}
