"""Divides a pool among claims in whole pips. Pure."""

from collections.abc import Mapping


def split_pool(owed_pips: Mapping[str, int], pool_pips: int) -> dict[str, int]:
    """Each claim in full if the pool covers all of them, else in proportion, by largest remainder.

    The shares sum to the smaller of pool and claims, none exceeds its claim, and the answer depends on
    nothing but the arguments: equal remainders go by id. O(n log n).
    """
    total = sum(owed_pips.values())
    if pool_pips >= total:
        return dict(owed_pips)
    shares, remainders = {}, []
    for claimant, owed in owed_pips.items():
        shares[claimant], remainder = divmod(owed * pool_pips, total)
        remainders.append((-remainder, claimant))
    remainders.sort()
    for _, claimant in remainders[: pool_pips - sum(shares.values())]:
        shares[claimant] += 1
    return shares
