// Sending orders so that none is sent twice: the id is made and kept before the order leaves, and until it is known
// what became of it. No answer, or "unknown", is looked up by that id; nothing is ever sent again under a new one.

import { call, NoAnswer, Refusal } from "./api.js";

const KEY = `pmarket.pending.${document.body.dataset.account ?? ""}`;
const LOOK_UP_MS = [1_000, 1_500, 2_500, 4_000, 5_000, 5_000, 5_000, 5_000];
const NOT_NOW = new Set([401, 403, 429, 503]);
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

/** Send a new order; answers as `resend`. `text` says in words what it is. */
export function submit(market, body, text, onUnknown) {
  const id = freshId();
  return resend({ id, market, body: { ...body, client_order_id: id }, text, attempts: 0 }, onUnknown);
}

/**
 * Send an entry under its own id, which is safe however often. Answers { order }, { refusal }, { neverPlaced: true },
 * or { lost: entry } if its fate could not be found out; `onUnknown()` is told when looking begins.
 */
export async function resend(entry, onUnknown = () => {}) {
  const sent = { ...entry, attempts: entry.attempts + 1, sentAt: Date.now() };
  remember(sent);
  try {
    const order = await call("POST", `/markets/${sent.market}/orders`, sent.body, { timeoutMs: 10_000 });
    forget(sent.id);
    return { order };
  } catch (error) {
    if (error instanceof Refusal && !error.isUnknown) {
      // "Not now" says nothing of an attempt before this one.
      if (sent.attempts > 1 && NOT_NOW.has(error.status)) return { lost: sent };
      forget(sent.id);
      return { refusal: error };
    }
    if (!(error instanceof Refusal || error instanceof NoAnswer)) throw error;
    onUnknown();
    return lookUp(sent, error instanceof Refusal ? error.document.order_id : null);
  }
}

/** Find out what became of an order. `orderId` is what an answer "unknown" has called it. */
export async function lookUp(entry, orderId = null) {
  for (const ms of LOOK_UP_MS) {
    await pause(ms);
    const found = await readOrder(`/orders/by-client-id/${entry.id}`);
    if (found.order) {
      forget(entry.id);
      return found;
    }
    if (found.isMissing && (await cannotCome(entry, orderId))) {
      forget(entry.id);
      return { neverPlaced: true };
    }
  }
  return { lost: entry };
}

/** Whether an order that is not there cannot appear any more: the exchange says so, or it has had time enough. */
async function cannotCome(entry, orderId) {
  if (!orderId) return Date.now() - entry.sentAt > SURELY_OVER_MS;
  return (await readOrder(`/orders/${orderId}`)).isFinal === true;
}

async function readOrder(path) {
  try {
    return { order: await call("GET", path) };
  } catch (error) {
    if (error instanceof NoAnswer) return {};
    if (!(error instanceof Refusal)) throw error;
    return { isMissing: error.status === 404, isFinal: error.document.final };
  }
}
