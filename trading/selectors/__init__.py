"""What pages and API ask of the read models. Reads only; amounts in pips, outcomes as indexes.

accounts.py   an account's orders, fills, positions and settlements, and what its positions are worth
ledger.py     an account's changes of cash, each with what it left
books.py      a market's order book
prices.py     what a share of each outcome is worth now
tape.py       a market's trades
candles.py    an outcome's trades and quotes by interval
analytics.py  what a book was like by hour, and the exchange's activity by category
history.py    the events of one stream
pages.py      cursors: lists by key, never by offset
"""

from trading.selectors.accounts import positions_value

__all__ = ["positions_value"]
