"""What `manage.py bench` measures: the commit path, both lanes, and the yardsticks beside them.

stage.py         throw-away PostgreSQL and Valkey, databases, the exchange's own processes
flow.py          the mixed flow of orders that engine and plain loop are both given
commit_path.py   command stream in, published outcome back, everything in between real
yardsticks.py    raw COPY of the same events, eventsourcing's recorder, a bare durable commit
matching.py      matching without commits: one flow for the engine and packages from PyPI; matching_table.py its figures
contestants/     what is run there, each in an interpreter of its own
interpreters.py  the environments that yardsticks run in
rival_gateway.py the gateway of the package matching-engine
open_loop.py     orders at a fixed rate, timed from when they were due
plain_loop.py    "lock the row, match in SQL, commit"
http_load.py     wrk against both lanes
report.py        figures, the table, bench.json
suite.py         which parts run, in which order, how often
"""
