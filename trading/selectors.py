"""What pages and API ask of the read models."""


def positions_value(account_id: str) -> int:
    """Value of the positions in pips."""
    return 0
