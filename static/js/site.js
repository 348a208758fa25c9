// Every page: the connection indicator and the bell with its notifications.

import { call, explain, Refusal } from "./api.js";
import { element, find, showLocalTimes } from "./dom.js";
import { clockText } from "./figures.js";
import { announced, feed, signedIn, toast } from "./session.js";

const LABELS = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", stale: "Prices stale" };

function showState() {
  const shown = find("#connection");
  shown.hidden = feed.subscriptions.size === 0;
  shown.dataset.state = feed.state;
  shown.title = LABELS[feed.state];
  find(".label", shown).textContent = LABELS[feed.state];
}

feed.addEventListener("state", showState);
// Pages subscribe once their own modules have run.
setTimeout(showState, 0);

class Bell {
  constructor(root) {
    this.root = root;
    this.button = find("button", root);
    this.count = find(".bell-count", root);
    this.panel = find(".bell-panel", root);
    this.unread = 0;
    this.button.addEventListener("click", () => this.toggle());
    document.addEventListener("click", (event) => {
      if (!root.contains(event.target)) this.close();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.panel.hidden) return;
      this.close();
      this.button.focus();
    });
  }

  setUnread(unread) {
    this.unread = unread;
    this.count.hidden = unread === 0;
    this.count.textContent = unread > 99 ? "99+" : String(unread);
    this.button.title = unread === 0 ? "Notifications" : `${unread} unread notifications`;
  }

  async refresh() {
    try {
      this.setUnread((await call("GET", "/notifications?limit=1")).unread);
    } catch {
      // The count is a courtesy; it is asked for again when the next notification comes.
    }
  }

  close() {
    this.panel.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
  }

  async toggle() {
    if (!this.panel.hidden) {
      this.close();
      return;
    }
    this.panel.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    this.panel.replaceChildren(element("div", { class: "empty" }, "Loading…"));
    try {
      this.show((await call("GET", "/notifications?limit=20")).results);
      if (this.unread > 0) await call("POST", "/notifications/read", {});
      this.setUnread(0);
    } catch (error) {
      this.panel.replaceChildren(element("div", { class: "empty" }, explain(error)));
    }
  }

  show(rows) {
    const list = rows.length
      ? element("ol", {}, ...rows.map((row) => this.row(row)))
      : element("div", { class: "empty" }, element("strong", {}, "Nothing yet"), "Fills and results will show up here.");
    this.panel.replaceChildren(element("header", {}, element("strong", {}, "Notifications")), list);
  }

  row({ title, body, created_at: at, read_at: readAt, data }) {
    const question = data?.market_id ? element("a", { href: `/markets/${data.market_id}` }, body) : body;
    return element(
      "li",
      { class: readAt ? "" : "unread" },
      element("strong", { class: "small" }, title),
      element("p", {}, question),
      element("p", {}, element("time", { datetime: at }, clockText(at))),
    );
  }
}

const ANSWER_FIRST_MS = 1_000; // The answer to an order may come just after its notification.
const KINDS = {
  order_filled: "success", market_resolved: "success", price_alert: "success", order_cancelled: "warn", order_expired: "warn",
  market_voided: "warn", sign_in: "warn", webhook_off: "warn",
};

if (signedIn) {
  const bell = new Bell(find("#bell"));
  bell.refresh();
  feed.subscribe("account", null, (data) => {
    if (data.type !== "notification") return;
    bell.setUnread(bell.unread + 1);
    setTimeout(() => {
      if (!announced.has(data.data?.order_id)) toast(data.title, data.body, KINDS[data.kind] ?? "");
    }, ANSWER_FIRST_MS);
  });
  // A gap means that some may have been missed: the count is the truth.
  feed.addEventListener("gap", () => bell.refresh());
  feed.addEventListener("state", () => {
    if (feed.state === "live") bell.refresh();
  });
}

showLocalTimes(document);

addEventListener("unhandledrejection", (event) => {
  if (event.reason instanceof Refusal && event.reason.status === 401) {
    toast("Signed out", "Your session has ended. Sign in again to trade.", "error");
  }
});
