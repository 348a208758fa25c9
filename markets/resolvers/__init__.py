"""Resolvers: plug-ins that ask somebody outside how a market has ended, and what is made of their answers.

    plugin.py      what a plug-in is: its name, the form of its settings, and `decide`
    registry.py    those that settings.RESOLVERS names
    fields.py      fields for such forms: URLs, outcomes, exact numbers, moments
    reading.py     one JSON document from outside, in bounds, with its evidence
    json_url.py    a value at a path of a document decides
    price_feed.py  a price at or after a time decides
    asking.py      a market is given a resolver; a job asks it and proposes what it answers

A resolver proposes and no more: approvals and the dispute window apply as to any proposal. docs/RESOLVERS.md says how
to write one.
"""
