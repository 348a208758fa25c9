-- Who has earned and traded how much, day by day, and how well each has foretold (trading/projections/standings.py).

-- The day '-infinity' is all time.
CREATE TABLE standing (
    day            date   NOT NULL,
    account_id     uuid   NOT NULL,
    realized_pips  bigint NOT NULL DEFAULT 0,
    volume_pips    bigint NOT NULL DEFAULT 0,
    score_sum_e8   bigint NOT NULL DEFAULT 0,
    scored_markets bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (day, account_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);

-- The squares are numeric: some minutes of trading with oneself would fill a bigint.
CREATE TABLE forecast (
    market_id    uuid     NOT NULL,
    account_id   uuid     NOT NULL,
    outcome      smallint NOT NULL,
    quantity     bigint   NOT NULL,
    price_sum    bigint   NOT NULL,
    price_sq_sum numeric  NOT NULL,
    PRIMARY KEY (market_id, account_id, outcome)
) PARTITION BY HASH (market_id);

DO $$
BEGIN
    FOR n IN 0..7 LOOP
        EXECUTE format('CREATE TABLE forecast_p%s PARTITION OF forecast FOR VALUES WITH (MODULUS 8, REMAINDER %s)', n, n);
    END LOOP;
END $$;
