// Figures as people read them, and the pips they stand for. The server's markets/figures.py says the same.
// Money and prices are whole pips ($0.0001) as Numbers: exact up to 2^53, which is $900 billion.

export const SHARE_PIPS = 10_000;
export const UNKNOWN = "–";

/** "0.6500" -> 6500; null stays null. For texts of the API, which are always well-formed. */
export function pipsOf(text) {
  if (text === null || text === undefined) return null;
  const negative = text.startsWith("-");
  const [whole, fraction = ""] = text.replace("-", "").split(".");
  const pips = Number(whole) * SHARE_PIPS + Number(fraction.padEnd(4, "0"));
  return negative ? -pips : pips;
}

/** 6500 -> "0.6500": what the API takes. */
export function apiText(pips) {
  return `${Math.floor(pips / SHARE_PIPS)}.${String(pips % SHARE_PIPS).padStart(4, "0")}`;
}

/** "65.25" typed in cents -> 6525; null for anything else. */
export function pipsOfCents(text) {
  const match = /^([0-9]{1,2})?(?:[.,]([0-9]{0,2}))?$/.exec(text.trim());
  if (!match || (!match[1] && !match[2])) return null;
  return Number(match[1] ?? 0) * 100 + Number((match[2] ?? "").padEnd(2, "0"));
}

/** 6525 -> "65.25": for a price field in cents. */
export function centsText(pips) {
  const rest = pips % 100;
  return rest === 0 ? String(pips / 100) : `${Math.floor(pips / 100)}.${String(rest).padStart(2, "0")}`.replace(/0$/, "");
}

/** 6500 -> "65¢". */
export function priceText(pips) {
  return pips === null ? UNKNOWN : `${centsText(pips)}¢`;
}

/** How far a price has come: 250 -> "+2.5¢". */
export function changeText(pips) {
  return (pips > 0 ? "+" : pips < 0 ? "−" : "") + priceText(Math.abs(pips));
}

/** 12345600 -> "$1,234.56"; four places where two would hide something. */
export function moneyText(pips) {
  if (pips === null) return UNKNOWN;
  const size = Math.abs(pips);
  const fraction = String(size % SHARE_PIPS).padStart(4, "0");
  const dollars = Math.floor(size / SHARE_PIPS).toLocaleString("en-US");
  return `${pips < 0 ? "−" : ""}$${dollars}.${size % 100 === 0 ? fraction.slice(0, 2) : fraction}`;
}

/** As moneyText, with a plus before a gain. */
export function signedMoneyText(pips) {
  return (pips > 0 ? "+" : "") + moneyText(pips);
}

/** 12345600000 -> "$1.23M", cut off. */
export function compactMoneyText(pips) {
  const dollars = Math.floor(pips / SHARE_PIPS);
  for (const [step, letter] of [[1e9, "B"], [1e6, "M"], [1e3, "K"]]) {
    if (dollars < step) continue;
    const hundredths = Math.floor((dollars * 100) / step);
    const whole = Math.floor(hundredths / 100);
    const rest = whole < 100 ? (hundredths % 100) / 100 : 0;
    return `$${String(whole + rest)}${letter}`;
  }
  return `$${dollars}`;
}

/** 6250 -> "63%"; only the impossible is 0% and only the certain 100%. */
export function chanceText(pips) {
  if (pips === null) return UNKNOWN;
  if (pips > 0 && pips < 100) return "<1%";
  if (pips > SHARE_PIPS - 100 && pips < SHARE_PIPS) return ">99%";
  return `${Math.floor((pips + 50) / 100)}%`;
}

export function sharesText(count) {
  return count.toLocaleString("en-US");
}

/** The one price that stands for a chance: the last one, held within bid and ask; see markets/figures.py. */
export function chanceOf({ last, bid, ask }) {
  if (last === null) return bid !== null && ask !== null ? Math.floor((bid + ask) / 2) : null;
  if (bid !== null && last < bid) return bid;
  if (ask !== null && last > ask) return ask;
  return last;
}

/** An outcome of a ticker frame or of the API as pips. */
export function quoteOf({ last_price, best_bid, best_ask }) {
  return { last: pipsOf(last_price), bid: pipsOf(best_bid), ask: pipsOf(best_ask) };
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** A moment as its time of day, or with its date if it is not from today. */
export function clockText(iso) {
  const at = new Date(iso);
  return at.toDateString() === new Date().toDateString() ? TIME.format(at) : DAY.format(at);
}
