"""Recorded order tapes of other venues, played against this exchange to see that it does what they did.

    steps.py      what a tape says, in the exchange's words: rows of places, cancels and amends
    lobster.py    reader of LOBSTER driver files: one stock, every order known by name
    kalshi.py     reader of Kalshi driver files: a binary market, sizes a level only
    polymarket.py reader of Polymarket trade files: many markets, takers only
    open.py       picks the reader by the file's header
    exchange.py   the public HTTP API, as far as a tape needs it
    player.py     sends the steps in batches and compares books
    replay.py     compares the book after every row, from the event log
    makers.py     compares fills: who was hit, at what price
    local_keys.py what a command beside the exchange may take from its database
    stage.py      the market and the accounts a tape is played with, and its settlement

A file of trades has no book, so a house market maker quotes what each trade took:

    house.py      what the house must quote, and when; what the trades add up to
    venue.py      the markets and accounts of such a tape, and their settlement
    takes.py      sends quotes and takes, the markets side by side
    audit.py      compares positions, fills, cash and profits with the sums
    night.py      all of that, one after the other, and reconcile

Readers are pure: a file in, rows out. Tests drive the bare engine with the same readers.
"""
