-- Every change of an account's free cash (trading/projections/ledger.py), and what all of them add up to.

-- The key serves both: an entry is written once, and an account's entries are read newest first.
CREATE TABLE ledger_entry (
    account_id  uuid        NOT NULL,
    at          timestamptz NOT NULL,
    slot        smallint    NOT NULL,
    leg         smallint    NOT NULL,
    slot_offset bigint      NOT NULL,
    amount_pips bigint      NOT NULL CHECK (amount_pips <> 0),
    market_id   uuid,
    order_id    uuid,
    kind        text        NOT NULL CHECK (kind IN ('deposit', 'withdrawal', 'order_reserved', 'order_released', 'trade',
                                                     'payout', 'refund', 'take_back')),
    PRIMARY KEY (account_id, at, slot, slot_offset, leg)
) PARTITION BY RANGE (at);

CREATE TABLE account_ledger (
    account_id uuid PRIMARY KEY,
    cash_pips  bigint      NOT NULL,
    seq        bigint      NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);
