"""The arithmetic of fees and reserves, exact in integers.

An order has paid ceil(Σ rate × quantity × p × (1 − p)) over its fills, however they were split
(Kalshi's formula, cumulative for an order). With the rate in ten-thousandths and p in pips the
sum is an integer numerator over 10^8 pips, which is what an order carries.
"""

from trading.engine.commands import AmendOrder, PlaceOrder

SHARE_PIPS = 10_000
FEE_SCALE = 100_000_000
MAX_QUANTITY_SHARES = 1_000_000  # of one order


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


def worst_cost_pips(command: PlaceOrder | AmendOrder, rate_e4: int) -> int:
    """The most cash a new or amended order can need, whatever its account holds.

    What an amend does not name may be anything: the order may still be on its way.
    """
    if isinstance(command, PlaceOrder):
        if command.max_cost_pips is not None:
            return command.max_cost_pips
        side, price, quantity = command.side, command.price_pips, command.quantity_shares
        return reserve_pips(side=side, price_pips=price, units=quantity, rate_e4=rate_e4, paid_numerator=0)
    if command.price_pips is None and command.quantity_shares is None:
        return 0
    quantity = MAX_QUANTITY_SHARES if command.quantity_shares is None else command.quantity_shares
    # No share costs more than $1 with its fee: p + rate × p × (1 − p) is at most 1.
    return quantity * SHARE_PIPS
