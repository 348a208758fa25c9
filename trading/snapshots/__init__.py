"""States of markets at moments of their streams: snapshots that are kept, and replay from the nearest one.

A snapshot is a cache of the log. Whatever is wrong with one, it is passed over with a warning and the events tell.
"""
