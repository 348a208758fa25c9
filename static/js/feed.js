// The WebSocket of the exchange: one connection a page, any number of subscriptions, each numbered.
//
// A frame carries the `seq` of the frame before it (prev_seq). If that is not the one we have, something was lost and
// the subscription starts again from a snapshot; the same if a listener says that its data do not add up (returns
// false), or if the server's heartbeat knows a newer number than ours. Nothing heard for a while: the feed is stale,
// and the connection is made anew, with growing patience.

const BACKOFF_MS = [500, 1_000, 2_000, 4_000, 8_000, 15_000];
const SILENCE_MS = 12_000; // The server's heartbeat comes every 5 s.
const BEATS_BEHIND = 2;
const TRY_AGAIN_MS = 3_000;

/** States: "connecting", "live", "reconnecting", "stale". */
export class Feed extends EventTarget {
  /** `ticket()` gives a one-time ticket for a signed-in page, or is null. */
  constructor(url, { ticket = null } = {}) {
    super();
    this.url = url;
    this.ticket = ticket;
    this.state = "connecting";
    this.subscriptions = new Map();
    this.socket = null;
    this.nextId = 1;
    this.waiting = new Map();
    this.attempts = 0;
    this.heardAt = 0;
    this.retry = null;
    addEventListener("online", () => this.connectNow());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.connectNow();
    });
    setInterval(() => this.#watchSilence(), 2_000);
  }

  /**
   * Hear a channel: `listener(data, frame)` for each frame in order, the first one a snapshot. Its answer `false` has
   * the channel start again. Answers a function that ends it.
   */
  subscribe(channel, marketId, listener) {
    const key = `${channel}|${marketId ?? ""}`;
    let subscription = this.subscriptions.get(key);
    if (!subscription) {
      subscription = { key, channel, marketId, listeners: new Set(), seq: null, started: false, behind: 0, turn: null };
      this.subscriptions.set(key, subscription);
      if (this.#isOpen) this.#start(subscription);
    } else if (subscription.started) {
      // A second listener needs a snapshot too, and the first one can bear another.
      this.#start(subscription);
    }
    subscription.listeners.add(listener);
    if (!this.socket && !this.retry) this.#connect();
    return () => this.#leave(subscription, listener);
  }

  /** Try at once if there is no connection. */
  connectNow() {
    if (this.socket || this.subscriptions.size === 0) return;
    clearTimeout(this.retry);
    this.attempts = 0;
    this.#connect();
  }

  get #isOpen() {
    return this.socket?.readyState === WebSocket.OPEN && this.ready;
  }

  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  #connect() {
    this.retry = null;
    this.ready = false;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.heardAt = Date.now();
    socket.addEventListener("open", () => this.#opened(socket));
    socket.addEventListener("message", (event) => {
      if (socket === this.socket) this.#received(JSON.parse(event.data));
    });
    socket.addEventListener("close", () => {
      if (socket === this.socket) this.#lost();
    });
  }

  async #opened(socket) {
    await this.#authenticate();
    if (socket !== this.socket || socket.readyState !== WebSocket.OPEN) return;
    this.ready = true;
    this.attempts = 0;
    for (const subscription of this.subscriptions.values()) this.#start(subscription);
    this.#setState("live");
  }

  /** Without it the market channels still work; the account channel starts once it has succeeded. */
  async #authenticate() {
    if (!this.ticket) return;
    const socket = this.socket;
    try {
      await this.#ask({ op: "auth", ticket: await this.ticket() });
    } catch (error) {
      if (error.status === 401) return;
      setTimeout(async () => {
        if (socket !== this.socket || socket.readyState !== WebSocket.OPEN) return;
        await this.#authenticate();
        const account = this.subscriptions.get("account|");
        if (account && this.#isOpen) this.#start(account);
      }, TRY_AGAIN_MS);
    }
  }

  #lost(state = "reconnecting") {
    this.socket = null;
    this.ready = false;
    for (const { reject } of this.waiting.values()) reject(new Error("the connection was lost"));
    this.waiting.clear();
    for (const subscription of this.subscriptions.values()) subscription.started = false;
    this.#setState(state);
    const step = BACKOFF_MS[Math.min(this.attempts, BACKOFF_MS.length - 1)];
    this.attempts += 1;
    // Some chance in it, so that not every page comes back in the same moment.
    this.retry = setTimeout(() => this.#connect(), step * (0.7 + 0.6 * Math.random()));
  }

  #watchSilence() {
    if (!this.socket || Date.now() - this.heardAt < SILENCE_MS) return;
    const socket = this.socket;
    this.#lost("stale");
    socket.close();
  }

  #send(message) {
    const id = this.nextId;
    this.nextId += 1;
    this.socket.send(JSON.stringify({ id, ...message }));
    return id;
  }

  #ask(message) {
    return new Promise((resolve, reject) => {
      this.waiting.set(this.#send(message), { resolve, reject });
    });
  }

  #start(subscription) {
    const turn = Symbol("subscribe");
    Object.assign(subscription, { started: false, seq: null, behind: 0, turn });
    const market = subscription.marketId ? { market_id: subscription.marketId } : {};
    this.#ask({ op: "subscribe", channel: subscription.channel, ...market }).then(
      () => {
        if (subscription.turn === turn) subscription.turn = null;
      },
      (error) => {
        if (error.code === "rate_limited" || error.code === "overloaded") {
          setTimeout(() => subscription.turn === turn && this.#isOpen && this.#start(subscription), TRY_AGAIN_MS);
        }
      },
    );
  }

  #leave(subscription, listener) {
    subscription.listeners.delete(listener);
    if (subscription.listeners.size > 0 || this.subscriptions.get(subscription.key) !== subscription) return;
    this.subscriptions.delete(subscription.key);
    if (!this.#isOpen) return;
    const market = subscription.marketId ? { market_id: subscription.marketId } : {};
    this.#ask({ op: "unsubscribe", channel: subscription.channel, ...market }).catch(() => {});
  }

  #received(frame) {
    this.heardAt = Date.now();
    if (this.state === "stale" && this.ready) this.#setState("live");
    if (frame.id !== undefined) this.#answered(frame);
    else if (frame.channel === "heartbeat") this.#beat(frame.data);
    else this.#told(frame);
  }

  #answered(frame) {
    const waiting = this.waiting.get(frame.id);
    this.waiting.delete(frame.id);
    if (frame.ok) {
      // The account channel tells its number in the answer; its first frame follows on that.
      const account = frame.channel === "account" && this.subscriptions.get("account|");
      if (account) Object.assign(account, { seq: frame.seq, started: true });
      waiting?.resolve(frame);
    } else {
      waiting?.reject(Object.assign(new Error(frame.error?.detail), { code: frame.error?.code }));
    }
  }

  #told(frame) {
    const subscription = this.subscriptions.get(`${frame.channel}|${frame.market_id ?? ""}`);
    if (!subscription) return;
    // Frames of the subscription before, still on their way; the new one's come after its answer.
    if (subscription.turn && frame.channel !== "account") return;
    // prev_seq null begins afresh, and so does the first frame after a subscribe.
    const follows = !subscription.started || frame.prev_seq === null || frame.prev_seq === subscription.seq;
    if (!follows) {
      this.dispatchEvent(new CustomEvent("gap", { detail: { channel: frame.channel, marketId: frame.market_id } }));
      this.#start(subscription);
      // An account's notifications are not repeated, so what came is told all the same.
      if (frame.channel !== "account") return;
    }
    subscription.started = true;
    subscription.seq = frame.seq;
    subscription.behind = 0;
    for (const listener of subscription.listeners) {
      if (listener(frame.data, frame) === false) {
        this.dispatchEvent(new CustomEvent("mismatch", { detail: { channel: frame.channel } }));
        this.#start(subscription);
        return;
      }
    }
  }

  /** The server's newest numbers: what stays behind them for two beats has lost something. */
  #beat({ live, subscriptions }) {
    this.#setState(live ? "live" : "stale");
    for (const known of subscriptions) {
      const subscription = this.subscriptions.get(`${known.channel}|${known.market_id ?? ""}`);
      if (!subscription?.started || known.seq === null) continue;
      subscription.behind = known.seq === subscription.seq ? 0 : subscription.behind + 1;
      if (subscription.behind >= BEATS_BEHIND) this.#start(subscription);
    }
  }
}
