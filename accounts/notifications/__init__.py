"""Notifications: what happened to an account while its owner may have looked away, and the ways in which it is told.

    texts.py        what each kind says, as a note that is not written yet
    writing.py      the one door: notes become rows, and jobs for what goes outside
    preferences.py  who wants what, by kind and channel
    projection.py   notes out of the event log
    holders.py      notes for all who hold something in a market: closing soon, a proposed resolution
    alerts.py       price alerts
    sign_ins.py     sign-ins from new places
    live.py         the channel to the owner's sockets
    mail.py         the channel by e-mail, single or as digests
    mail_server.py  how a message is handed over, once
    addresses.py    where e-mails go, once their owners have confirmed it
    unsubscribe.py  the links by which e-mails are ended
    webhooks.py     a user's endpoints, their secrets and their log
    deliveries.py   the channel to those endpoints

A row's key names what it tells of, so telling it again adds nothing; rows are never rebuilt, because what has been
read stays read. Simulated users and accounts without a user are told nothing.
"""
