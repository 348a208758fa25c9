"""The arithmetic of fees and reserves, exact in integers.

An order has paid ceil(Σ rate × quantity × p × (1 − p)) over its fills, however they were split
(Kalshi's formula, cumulative for an order). With the rate in ten-thousandths and p in pips the
sum is an integer numerator over 10^8 pips, which is what an order carries.
"""

from trading.engine.commands import PlaceOrder

SHARE_PIPS = 10_000
FEE_SCALE = 100_000_000


def fee_numerator(rate_e4: int, quantity_shares: int, price_pips: int) -> int:
    """rate × quantity × p × (1 − p), in 10^-8 pips."""
    return rate_e4 * quantity_shares * price_pips * (SHARE_PIPS - price_pips)


def fee_pips(numerator: int) -> int:
    """A fee numerator in whole pips, rounded up."""
    return -(-numerator // FEE_SCALE)


def reserve_pips(*, side: str, price_pips: int, units: int, rate_e4: int, paid_numerator: int) -> int:
    """Cash that `units` uncovered shares may still need at the limit price, fee included.

    Enough for every better price too: p + rate × p × (1 − p) grows with p for rates up to 100 %.
    `paid_numerator` is the fee already charged for the order, so rounding is counted once.
    """
    if units == 0:
        return 0
    unit_pips = price_pips if side == "buy" else SHARE_PIPS - price_pips
    if rate_e4 == 0:
        return unit_pips * units
    further = fee_numerator(rate_e4, units, price_pips)
    return unit_pips * units + fee_pips(paid_numerator + further) - fee_pips(paid_numerator)


def worst_cost_pips(command: PlaceOrder, rate_e4: int) -> int:
    """The most cash a new order can need, whatever its account holds."""
    return reserve_pips(
        side=command.side, price_pips=command.price_pips, units=command.quantity_shares, rate_e4=rate_e4,
        paid_numerator=0,
    )  # fmt: skip
