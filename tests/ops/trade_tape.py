"""A small file of trades with everything that is awkward: shares sold that were never bought, a row larger than an
order may be, the same row twice, prices at both ends of the grid, a market of three outcomes, one that lists only what
was traded, one that stays undecided and one that nobody came to.
"""

import gzip
import json
from pathlib import Path

COLUMNS = "t_unix,market,trader,action,outcome,price_tick,qty_centi,usd_cents,in_grid"
MARKETS = [
    {"market": "governor", "outcomes": ["Democrat", "Republican"], "winner_by_last_price": "Republican"},
    {"market": "seats", "outcomes": ["46", "50", "54"], "winner_by_last_price": "50"},
    {"market": "only one was traded", "outcomes": ["Republican"], "winner_by_last_price": "Democrat"},
    {"market": "senate", "outcomes": ["Democrat", "Republican"], "winner_by_last_price": None},
    {"market": "nobody came", "outcomes": ["Yes", "No"], "winner_by_last_price": "No"},
]
ROWS = """
100,governor,1,sell,Democrat,6000,100,0,1
100,governor,2,buy,Republican,4000,2500000,0,1
101,governor,3,buy,Democrat,5000,10,0,1
101,governor,3,buy,Democrat,5000,10,0,1
101,governor,4,buy,Democrat,9999,7,0,1
101,governor,4,sell,Democrat,1,5,0,1
101,governor,4,buy,Republican,1,3,0,1
102,governor,4,buy,Martian,0,0,0,0
102,governor,2,sell,Republican,9999,1000001,0,1
103,seats,1,sell,54,2000,50,0,1
103,seats,2,buy,46,3000,30,0,1
103,seats,2,buy,50,3000,30,0,1
103,seats,2,buy,54,4000,30,0,1
103,seats,3,buy,50,9999,40,0,1
104,seats,3,sell,46,1,25,0,1
104,seats,5,sell,50,2500,60,0,1
105,only one was traded,5,buy,Republican,200,9,0,1
105,senate,5,buy,Democrat,5100,11,0,1
106,senate,1,sell,Democrat,5200,4,0,1
106,senate,5,sell,Republican,4700,2,0,1
"""


def write(path: Path, rows: str, *, columns: str = COLUMNS, markets: object = MARKETS) -> Path:
    (path.parent / path.name.replace("trades.csv.gz", "markets.json")).write_text(json.dumps(markets))
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(f"{columns}\n{rows.strip()}\n")
    return path
