// What an order would do, worked out before it is sent: fills against the visible book, money, fee, pay-out.
// Arithmetic is the matcher's: whole pips, a covered unit delivers shares instead of cash, the fee is rounded up once.

import { SHARE_PIPS } from "./figures.js";

const FEE_SCALE = 100_000_000n; // Rates and prices are both in ten-thousandths.

/** ceil(Σ rate × quantity × p × (1 − p)) in pips, over [[rateE4, pips, quantity]…]. */
export function feeOf(parts) {
  let sum = 0n;
  for (const [rate, pips, quantity] of parts) {
    sum += BigInt(rate) * BigInt(quantity) * BigInt(pips) * BigInt(SHARE_PIPS - pips);
  }
  return Number((sum + FEE_SCALE - 1n) / FEE_SCALE);
}

/** The fills that a limit would get now: [[pips, quantity]…], and what is left over. */
export function fillsOf({ side, limit, quantity, ladder }) {
  const fills = [];
  let rest = quantity;
  for (const [pips, size] of side === "buy" ? ladder.asks : ladder.bids) {
    if (rest === 0 || (side === "buy" ? pips > limit : pips < limit)) break;
    const taken = Math.min(rest, size);
    fills.push([pips, taken]);
    rest -= taken;
  }
  return { fills, rest };
}

/** The worst price a market order needs to be filled by the visible book; null if nothing is offered. */
export function reachOf({ side, quantity, ladder, tick, slack }) {
  const { fills } = fillsOf({ side, quantity, ladder, limit: side === "buy" ? SHARE_PIPS : 0 });
  if (fills.length === 0) return null;
  const last = fills.at(-1)[0];
  const worst = side === "buy" ? last + slack : last - slack;
  return Math.min(SHARE_PIPS - tick, Math.max(tick, worst));
}

/** How many units of an order are covered by shares: a sell by the outcome's own, a buy by all of the others'. */
export function coverOf({ side, outcome, outcomes, held, quantity }) {
  const names = side === "sell" ? [outcome] : outcomes.filter((name) => name !== outcome);
  return Math.min(quantity, ...names.map((name) => held[name] ?? 0));
}

/**
 * The whole order if it is filled: now as far as the book goes, the rest at its limit.
 * `spend` is what leaves the free cash at most (fee included), `cash` what the fills bring (+) or take (−) before the
 * fee, `payout` what the new shares pay if right.
 */
export function estimate({ side, limit, quantity, covered, ladder, restsInBook, takerFee, makerFee }) {
  const { fills, rest } = fillsOf({ side, limit, quantity, ladder });
  const resting = restsInBook ? rest : 0;
  const parts = resting > 0 ? [...fills, [limit, resting]] : fills;
  let cover = covered;
  let cash = 0;
  let turnover = 0;
  for (const [pips, units] of parts) {
    const own = side === "buy" ? pips : SHARE_PIPS - pips;
    const byShares = Math.min(cover, units);
    cover -= byShares;
    cash += (SHARE_PIPS - own) * byShares - own * (units - byShares);
    turnover += pips * units;
  }
  const done = quantity - (restsInBook ? 0 : rest);
  const fee = feeOf([
    ...fills.map(([pips, units]) => [takerFee, pips, units]),
    ...(resting > 0 ? [[makerFee, limit, resting]] : []),
  ]);
  const worst = side === "buy" ? limit : SHARE_PIPS - limit;
  const byCash = quantity - covered;
  const reserve = worst * byCash + feeOf([[Math.max(takerFee, makerFee), limit, byCash]]);
  return {
    fills,
    filledNow: quantity - rest,
    rest,
    average: done > 0 ? Math.round(turnover / done) : null,
    done,
    cash,
    fee,
    reserve,
    bought: Math.max(0, done - covered),
    payout: Math.max(0, done - covered) * SHARE_PIPS,
  };
}
