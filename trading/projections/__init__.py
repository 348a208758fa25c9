"""The read side: what the log says, folded into the tables that pages and the API read.

Each projection owns its tables and follows the log with a checkpoint of its own; deleting its rows
and replaying gives them back. Nothing here decides anything, and nobody else writes these tables.
"""

DEFAULT_PROJECTIONS = (
    "trading.projections.orders.OrdersProjection",
    "trading.projections.trades.TradesProjection",
    "trading.projections.positions.PositionsProjection",
    "trading.projections.ledger.LedgerProjection",
    "trading.projections.books.BooksProjection",
    "trading.projections.candles.CandlesProjection",
    "trading.projections.markets.MarketsProjection",
)
"""Used unless settings.PROJECTIONS names others. Markets come last, so that a market's seq is never
ahead of its orders and books by more than the round in progress."""
