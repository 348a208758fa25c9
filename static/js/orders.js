// Sending orders so that none is sent twice: the id is made and kept before the order leaves, and until it is known
// what became of it. No answer, or "unknown", is looked up by that id; nothing is ever sent again under a new one.

import { call, NoAnswer, Refusal } from "./api.js";

const KEY = `pmarket.pending.${document.body.dataset.account ?? ""}`;
const LOOK_UP_MS = [1_000, 1_500, 2_500, 4_000, 5_000, 5_000, 5_000, 5_000];
// A 504 leaves after the command's deadline. Without any answer the request may still be on its way for a while.
const SURELY_OVER_MS = 16_000;

function freshId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `web-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? [];
  } catch {
    return [];
  }
}

function store(pending) {
  try {
    localStorage.setItem(KEY, JSON.stringify(pending));
  } catch {
    // Without storage the id lives as long as the page.
  }
}

const remember = (entry) => store([...stored().filter(({ id }) => id !== entry.id), entry]);

/** Stop asking about an order. */
export const forget = (id) => store(stored().filter((entry) => entry.id !== id));

/** Orders whose fate is not known yet, from this page or an earlier one. */
export const pendingOrders = () => stored();

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Send a new order; see `resend` for the answers. `text` says in words what it is. */
export function submit(market, body, text, onUnknown) {
  const id = freshId();
  return resend({ id, market, body: { ...body, client_order_id: id }, text, sentAt: Date.now() }, onUnknown);
}

/**
 * Send an entry under its own id, which is safe however often. Answers { order }, { refusal }, or { lost: entry } if
 * its fate could not be found out; `onUnknown()` is told when looking begins.
 */
export async function resend(entry, onUnknown = () => {}) {
  const sent = { ...entry, sentAt: Date.now() };
  remember(sent);
  try {
    const order = await call("POST", `/markets/${sent.market}/orders`, sent.body, { timeoutMs: 10_000 });
    forget(sent.id);
    return { order };
  } catch (error) {
    if (error instanceof Refusal && !error.isUnknown) {
      forget(sent.id);
      return { refusal: error };
    }
    if (!(error instanceof Refusal || error instanceof NoAnswer)) throw error;
    onUnknown();
    return lookUp(sent, error instanceof Refusal);
  }
}

/** Find out what became of an order. `deadlinePassed`: the exchange itself has said that a look-up is final now. */
export async function lookUp(entry, deadlinePassed = false) {
  for (const ms of LOOK_UP_MS) {
    await pause(ms);
    try {
      const order = await call("GET", `/orders/by-client-id/${entry.id}`);
      forget(entry.id);
      return { order };
    } catch (error) {
      if (!(error instanceof Refusal || error instanceof NoAnswer)) throw error;
      const isMissing = error instanceof Refusal && error.status === 404;
      const isOver = deadlinePassed || Date.now() - entry.sentAt > SURELY_OVER_MS;
      if (isMissing && isOver) {
        forget(entry.id);
        return { refusal: error, neverPlaced: true };
      }
    }
  }
  return { lost: entry };
}
