"""What a settlement's jobs do. There are a few for each, so that as many workers share its account slots out."""

from typing import Any

from trading.jobs import Again, GiveUp, NotYet, job
from trading.settlement.course import BUSY, DONE, WAITING, settle
from trading.settlement.dues import Unbalanced, load_settlement

LOOK_AGAIN_S = 0.5


@job("trading.settle", queue="settlement")
def settle_share(payload: dict[str, Any]) -> Again | None:
    """Pay for a while. Where the market does not add up the first share becomes the dead letter, the others end.

    Requeued, it begins anew: what does not add up is found before the first is paid.
    """
    leads = payload["share"] == 0
    if not leads and load_settlement(payload["settlement"]).status == "failed":
        return None
    try:
        status = settle(payload["settlement"])
    except Unbalanced as error:
        if leads:
            raise GiveUp(str(error)) from None
        return None
    if status == WAITING:
        raise NotYet("the positions are not there yet", retry_in_s=LOOK_AGAIN_S)
    if status == DONE:
        return None
    return Again(in_s=LOOK_AGAIN_S if status == BUSY else 0)
