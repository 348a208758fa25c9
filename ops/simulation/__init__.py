"""The demo's life: a market maker and a crowd of traders, all marked as simulated, on the public API.

    belief.py    what a market's outcomes are really worth: a drifting probability. Pure
    quoting.py   the maker's ladder around a price, and what to change to get it. Pure
    people.py    the simulated users, their keys and their cash
    markets.py   the markets of the demo, each with its belief
    maker.py     quotes every market and follows its belief
    crowd.py     traders who come at random, with opinions of their own
    play.py      all of it together, until it is told to stop

Nothing here is privileged but the making of users and keys; orders go the way of everybody's orders, by the client that
everybody may copy: `examples/pmarket_client.py`.
"""
