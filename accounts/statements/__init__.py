"""Daily statements: everything that moved an account's cash on a UTC day, what it traded and what it held at the end.

    making.py     the statement as a CSV file, refused unless it adds up
    cells.py      how texts, money and times are written in it
    mailing.py    who is mailed one, and that it is once

Numbers come from trading.selectors.statement and held; docs/REPORTS.md describes the columns.
"""
