// The HTTP API as the pages call it: session cookie, CSRF, problem documents.

/** The exchange answered, and its answer is no. */
export class Refusal extends Error {
  constructor(status, document) {
    super(document.detail ?? document.title ?? `HTTP ${status}`);
    this.status = status;
    this.code = document.code ?? "";
    this.errors = document.errors ?? {};
    this.document = document;
  }

  /** Whether what became of the request is not known. */
  get isUnknown() {
    return this.status === 504;
  }
}

/** No answer that can be read: the request may or may not have arrived. */
export class NoAnswer extends Error {}

function csrfToken() {
  return document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
}

/** The answer's document. Throws Refusal or NoAnswer. */
export async function call(method, path, body = undefined, { timeoutMs = 10_000 } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  let text;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await response.text();
  } catch (error) {
    throw new NoAnswer(error.message);
  }
  let document;
  try {
    document = text ? JSON.parse(text) : {};
  } catch {
    throw new NoAnswer(`not JSON, HTTP ${response.status}`);
  }
  if (!response.ok) {
    // A proxy's or a crash's 5xx says nothing of what was done; the exchange's own has a code.
    if (response.status >= 500 && !document.code) throw new NoAnswer(`HTTP ${response.status}`);
    if (document.code === "internal_error") throw new NoAnswer(document.detail);
    throw new Refusal(response.status, document);
  }
  return document;
}

const WORDS = {
  market_not_open: "The market is not open for trading.",
  off_tick: "The price is not a multiple of the market's tick.",
  exceeds_limits: "That is more than the exchange takes.",
  exceeds_available_cash: "You do not have enough free cash for this order.",
  cannot_fill: "The book cannot fill the whole order at this price.",
  not_authenticated: "Your session has ended. Sign in again.",
  permission_denied: "You may not do that.",
  rate_limited: "Too many requests at once. Wait a moment.",
  overloaded: "The exchange is overloaded; nothing was done. Try again.",
  read_lag: "The figures are a little behind. Try again.",
  order_not_open: "That order is no longer open.",
  idempotency_mismatch: "This order id has been used for another order.",
};

/** What a refusal means, for people: the named fields first, then the code. */
export function explain(error) {
  if (error instanceof NoAnswer) return "No answer from the exchange. Check your connection.";
  if (!(error instanceof Refusal)) throw error;
  const fields = Object.entries(error.errors).map(([field, texts]) => `${field}: ${texts.join(" ")}`);
  return fields.join(" ") || WORDS[error.code] || error.message;
}
