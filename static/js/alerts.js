// The price alerts of one market: setting them, seeing those that wait, deleting them.

import { call, explain, Refusal } from "./api.js";
import { element, find } from "./dom.js";
import { apiText, pipsOf, pipsOfCents, priceText } from "./figures.js";
import { feed, toast } from "./session.js";

const WORDS = { at_or_above: "at or above", at_or_below: "at or below" };

export class PriceAlerts {
  constructor(root, market) {
    this.root = root;
    this.market = market;
    this.list = find("#alert-list", root);
    this.error = find("#alert-error", root);
    this.form = find("form", root);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#set();
    });
    // One that has fired waits no longer.
    feed.subscribe("account", null, (data) => {
      if (data.type === "notification" && data.kind === "price_alert") this.read();
    });
    this.read();
  }

  async read() {
    try {
      const query = new URLSearchParams({ market_id: this.market, limit: "100" });
      const { results } = await call("GET", `/price-alerts?${query}`);
      this.#show(results.filter((alert) => alert.fired_at === null));
    } catch {
      // The list is a courtesy; it is asked for again when something changes.
    }
  }

  #show(alerts) {
    this.list.replaceChildren(...alerts.map((alert) => this.#item(alert)));
    this.list.hidden = alerts.length === 0;
  }

  #item({ id, outcome, direction, price }) {
    const text = `${outcome} ${WORDS[direction]} ${priceText(pipsOf(price))}`;
    const remove = element("button", { class: "button small", type: "button", "aria-label": `Delete the alert: ${text}`, onclick: () => this.#remove(id, remove) }, "Delete");
    return element("li", {}, element("span", {}, text), remove);
  }

  async #set() {
    const { outcome, direction, price } = Object.fromEntries(new FormData(this.form));
    const pips = pipsOfCents(price);
    if (!pips) return this.#refuse("A price is between 0.01 and 99.99 cents.");
    try {
      await call("POST", "/price-alerts", { market: this.market, outcome, direction, price: apiText(pips) });
      this.#refuse("");
      find("#alert-price", this.root).value = "";
      toast("Alert set", `${outcome} ${WORDS[direction]} ${priceText(pips)}: you are told once.`, "success");
    } catch (error) {
      this.#refuse(error instanceof Refusal && error.code === "exceeds_limits" ? error.message : explain(error));
    }
    return this.read();
  }

  async #remove(id, button) {
    button.disabled = true;
    try {
      await call("DELETE", `/price-alerts/${id}`);
    } catch (error) {
      if (!(error instanceof Refusal && error.status === 404)) toast("Not deleted", explain(error), "error");
    }
    this.read();
  }

  #refuse(text) {
    this.error.textContent = text;
    this.error.hidden = text === "";
  }
}
