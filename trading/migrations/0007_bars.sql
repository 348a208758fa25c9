-- Books by the log alone, and what trading was like minute by minute. Everything about a book is in the book's terms:
-- a binary market has one, of outcome 0, in which an order for outcome 1 stands mirrored.

-- Books (trading/projections/books.py) -------------------------------------------------------------

-- `quantity` is the order's total, filled part included; `is_mirrored` says that its owner's price is 1 - price.
CREATE TABLE resting_order (
    order_id    uuid PRIMARY KEY,
    market_id   uuid     NOT NULL,
    outcome     smallint NOT NULL,
    is_bid      boolean  NOT NULL,
    is_mirrored boolean  NOT NULL,
    price_pips  integer  NOT NULL,
    quantity    bigint   NOT NULL,
    remaining   bigint   NOT NULL CHECK (remaining > 0)
);

CREATE TABLE book_level (
    market_id  uuid     NOT NULL,
    outcome    smallint NOT NULL,
    is_bid     boolean  NOT NULL,
    price_pips integer  NOT NULL,
    quantity   bigint   NOT NULL CHECK (quantity > 0),
    orders     bigint   NOT NULL CHECK (orders > 0),
    PRIMARY KEY (market_id, outcome, is_bid, price_pips)
);

-- A row for each minute in which orders came to a book, went or traded: its top as the minute left it. A side without
-- orders has no price. The depth is what rests within 500 pips of the best price.
CREATE TABLE quote_bar (
    market_id    uuid        NOT NULL,
    outcome      smallint    NOT NULL,
    at           timestamptz NOT NULL,
    bid_pips     integer,
    ask_pips     integer,
    bid_quantity bigint      NOT NULL,
    ask_quantity bigint      NOT NULL,
    bid_depth    bigint      NOT NULL,
    ask_depth    bigint      NOT NULL,
    PRIMARY KEY (market_id, outcome, at)
);

-- Candles (trading/projections/candles.py) ---------------------------------------------------------

CREATE TABLE trade_bar (
    market_id    uuid        NOT NULL,
    outcome      smallint    NOT NULL,
    resolution   text        NOT NULL CHECK (resolution IN ('1m', '1h')),
    at           timestamptz NOT NULL,
    open_pips    integer     NOT NULL,
    high_pips    integer     NOT NULL,
    low_pips     integer     NOT NULL,
    close_pips   integer     NOT NULL,
    volume_pips  bigint      NOT NULL,
    quantity     bigint      NOT NULL,
    trades       bigint      NOT NULL,
    buy_quantity bigint      NOT NULL, -- what a taker bought; the rest a taker sold
    PRIMARY KEY (market_id, outcome, resolution, at)
);

-- By hour and category. The maker's and the taker's part are sums of their own legs, each price times quantity in its
-- owner's terms; `taker_buys_pips` is what of the taker's part were buys.
CREATE TABLE activity_hour (
    at                timestamptz NOT NULL,
    category          text        NOT NULL,
    volume_pips       bigint      NOT NULL,
    trades            bigint      NOT NULL,
    maker_volume_pips bigint      NOT NULL,
    taker_volume_pips bigint      NOT NULL,
    maker_fees_pips   bigint      NOT NULL,
    taker_fees_pips   bigint      NOT NULL,
    taker_buys_pips   bigint      NOT NULL,
    PRIMARY KEY (at, category)
);
