"""Calls to services outside of the exchange: what may be reached, how it is asked, and when it is left alone.

address.py  which URLs may be called, and the addresses that were checked
fetch.py    one HTTP request to such an address
breaker.py  a service that keeps failing is left alone for a while, by every process
alone.py    one call at a time to a place
mail.py     the mail server: a message is handed over once
"""
