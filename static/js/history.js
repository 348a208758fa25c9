// What an outcome cost before the trades that a page keeps: from candles, as short as the market's age allows.

import { call } from "./api.js";
import { pipsOf } from "./figures.js";

const CANDLES = 500;
const LENGTHS_MS = { "1m": 60_000, "5m": 300_000, "1h": 3_600_000, "1d": 86_400_000 };

/** [[ms, pips]…] in time order, from a market's first trade on: where each candle opened and closed. Throws as `call`. */
export async function pricesSince(marketId, outcome, sinceMs) {
  const fitting = ([, length]) => Date.now() - sinceMs < CANDLES * length;
  const [interval, length] = Object.entries(LENGTHS_MS).find(fitting) ?? ["1d", LENGTHS_MS["1d"]];
  const wanted = new URLSearchParams({ outcome, interval, from: new Date(sinceMs).toISOString() });
  const { results } = await call("GET", `/markets/${marketId}/candles?${wanted}`);
  return results
    .filter(({ close }) => close !== null)
    .flatMap(({ at, open, close }) => [
      [Date.parse(at), pipsOf(open)],
      [Date.parse(at) + length, pipsOf(close)],
    ]);
}
