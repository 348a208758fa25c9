// The user's own part of a page: cancelling orders, and asking the server for the part anew when something changed.

import { call, explain } from "./api.js";
import { debounced, embedded, find, refreshPart } from "./dom.js";
import { sharesText } from "./figures.js";
import { feed, toast } from "./session.js";

const SETTLE_MS = 250; // The read side follows the commit within this, nearly always.
const LATER_MS = 1_500;

export class Holdings {
  /** `root` has data-url; `changed()` is called whenever new HTML is in place. */
  constructor(root, changed = () => {}) {
    this.root = root;
    this.changed = changed;
    this.refresh = debounced(() => this.#refresh(), SETTLE_MS);
    root.addEventListener("click", (event) => this.#clicked(event.target));
    feed.subscribe("account", null, () => this.refreshSoon());
    feed.addEventListener("state", () => feed.state === "live" && this.refresh());
  }

  /** Now, and once more in case the read side was late. */
  refreshSoon() {
    this.refresh();
    clearTimeout(this.later);
    this.later = setTimeout(() => this.#refresh(), LATER_MS);
  }

  /** Free cash in pips, and free shares by outcome. */
  get values() {
    const held = find("#holdings", this.root);
    return { cash: held ? Number(held.dataset.cash) : null, shares: embedded("held-shares") ?? {} };
  }

  async #refresh() {
    if (await refreshPart(this.root, this.root.dataset.url)) this.changed();
  }

  async #clicked(target) {
    const button = target.closest("[data-cancel], [data-cancel-all]");
    if (!button) return;
    button.disabled = true;
    try {
      if (button.dataset.cancel) {
        const order = await call("DELETE", `/orders/${button.dataset.cancel}`);
        const left = order.quantity - order.filled;
        if (order.status === "filled") toast("Too late", "The order had been filled.", "warn");
        else toast("Order cancelled", `${sharesText(left)} ${order.outcome} taken out of the book.`);
      } else {
        const market = button.dataset.cancelAll;
        const { cancelled } = await call("DELETE", market ? `/markets/${market}/orders` : "/orders");
        toast("Orders cancelled", `${sharesText(cancelled)} taken out of the book.`);
      }
    } catch (error) {
      toast("Not cancelled", explain(error), "error");
      button.disabled = false;
    }
    this.refreshSoon();
  }
}

