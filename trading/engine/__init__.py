"""The matching engine: pure functions over one market's state.

`decide` judges a command and yields events, `apply` alone changes the state. No clock, no I/O, no
randomness: time and cash come with the command, so a recorded log replays to the same bytes.
"""
