-- The exchange's tables. Money is bigint pips (1 pip = $0.0001), quantities are shares,
-- identifiers are UUIDv7. Partitions of event, "order", trade and fill are made by
-- trading.eventlog.partitions, never by hand.

-- Ownership and heads of the log -----------------------------------------------------------------

CREATE TABLE slot (
    slot           smallint PRIMARY KEY,
    kind           text        NOT NULL CHECK (kind IN ('market', 'account')),
    owner          text,
    epoch          bigint      NOT NULL DEFAULT 0,
    next_offset    bigint      NOT NULL DEFAULT 0,
    command_offset text        NOT NULL DEFAULT '0-0',
    recorded_at    timestamptz NOT NULL DEFAULT to_timestamp(0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
        autovacuum_vacuum_cost_delay = 0);

INSERT INTO slot (slot, kind)
SELECT n, CASE WHEN n < 16 THEN 'market' ELSE 'account' END FROM generate_series(0, 31) AS n;

CREATE TABLE slot_layout (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    market_slots  smallint NOT NULL,
    account_slots smallint NOT NULL
);
INSERT INTO slot_layout (market_slots, account_slots) VALUES (16, 16);

CREATE TABLE stream (
    id      uuid PRIMARY KEY,
    slot    smallint NOT NULL REFERENCES slot,
    version bigint   NOT NULL,
    hash    bytea    NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);

CREATE TABLE shard (
    shard_id     text PRIMARY KEY,
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    state        text NOT NULL DEFAULT 'starting'
);

-- The log ----------------------------------------------------------------------------------------

CREATE TABLE event (
    slot        smallint    NOT NULL,
    slot_offset bigint      NOT NULL,
    stream_id   uuid        NOT NULL,
    version     bigint      NOT NULL,
    type        text        NOT NULL,
    data        jsonb       NOT NULL,
    metadata    jsonb       NOT NULL,
    hash        bytea       NOT NULL,
    recorded_at timestamptz NOT NULL
) PARTITION BY RANGE (recorded_at);
CREATE UNIQUE INDEX event_slot_offset ON event (slot, slot_offset, recorded_at);
CREATE UNIQUE INDEX event_stream_version ON event (stream_id, version, recorded_at);

CREATE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only: % refused', TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER event_is_append_only BEFORE UPDATE OR DELETE ON event
    FOR EACH ROW EXECUTE FUNCTION refuse_event_change();
CREATE TRIGGER event_is_not_truncated BEFORE TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change();
REVOKE ALL ON event FROM PUBLIC;
REVOKE UPDATE, DELETE, TRUNCATE ON event FROM CURRENT_USER;

-- The log's proofs and long life -------------------------------------------------------------------

-- Signed heads of all slots, a row a minute (trading/eventlog/heads.py). The files outside the database are what
-- counts; these rows are what the endpoint shows and what a file lacks after a crash.
CREATE TABLE published_head (
    published_at timestamptz PRIMARY KEY,
    line         text NOT NULL
);

-- Months of the log that are in files (trading/eventlog/archived.py).
CREATE TABLE event_archive (
    partition   text PRIMARY KEY,
    file        text        NOT NULL,
    sha256      bytea       NOT NULL,
    events      bigint      NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE event_archive_slot (
    partition    text     NOT NULL REFERENCES event_archive ON DELETE CASCADE,
    slot         smallint NOT NULL,
    first_offset bigint   NOT NULL,
    next_offset  bigint   NOT NULL CHECK (next_offset > first_offset),
    PRIMARY KEY (slot, first_offset)
);
-- The first event of each market whose beginning is archived: read models ask for it as long as the market lives.
CREATE TABLE archived_creation (
    market_id uuid PRIMARY KEY,
    type      text  NOT NULL,
    data      jsonb NOT NULL
);

-- Cash and claims --------------------------------------------------------------------------------

CREATE TABLE cash_account (
    account_id     uuid PRIMARY KEY,
    cash_pips      bigint NOT NULL DEFAULT 0 CHECK (cash_pips >= 0),
    reserved_pips  bigint NOT NULL DEFAULT 0 CHECK (reserved_pips >= 0),
    debt_pips      bigint NOT NULL DEFAULT 0 CHECK (debt_pips >= 0),
    fees_paid_pips bigint NOT NULL DEFAULT 0,
    fence          uuid -- the last cancel-all: orders with an older id are refused
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);

CREATE TABLE batch (
    batch_id       uuid PRIMARY KEY,
    slots          smallint[] NOT NULL,
    epochs         bigint[]   NOT NULL,
    accounts       uuid[]     NOT NULL,
    amounts        bigint[]   NOT NULL,
    claim_accounts uuid[]     NOT NULL,
    claim_keys     text[]     NOT NULL,
    opened_at      timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200,
        autovacuum_vacuum_cost_delay = 0);
-- A row lives for milliseconds: compressing it was a twentieth of a commit.
ALTER TABLE batch
    ALTER accounts SET STORAGE EXTERNAL, ALTER amounts SET STORAGE EXTERNAL,
    ALTER claim_accounts SET STORAGE EXTERNAL, ALTER claim_keys SET STORAGE EXTERNAL;

CREATE TABLE client_order (
    account_id   uuid  NOT NULL,
    key          text  NOT NULL,
    command_hash bytea NOT NULL,
    order_id     uuid,
    market_id    uuid,
    refusal      text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account_id, key)
);

-- T2 of a batch (trading/shard/commit.py) in one statement: the slots' offsets, fenced by epoch, then events, heads,
-- refusals and credits. Whatever is not as its owner left it raises PM001, so that nothing is written.
CREATE FUNCTION commit_batch(
    batch uuid, recorded timestamptz,
    slots smallint[], epochs bigint[], expected bigint[], next_offsets bigint[], command_offsets text[],
    event_slots smallint[], event_offsets bigint[], event_streams uuid[], event_versions bigint[], event_types text[],
    event_data jsonb[], event_metadata jsonb[], event_hashes bytea[],
    head_streams uuid[], head_slots smallint[], head_versions bigint[], head_hashes bytea[],
    refused_accounts uuid[], refused_keys text[], refusals text[],
    cash_accounts uuid[], credits bigint[], reserves bigint[], fees bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    -- In order, as T1 does, which may run meanwhile for the next batch.
    PERFORM FROM slot WHERE slot.slot = ANY(slots) ORDER BY slot.slot FOR NO KEY UPDATE;
    UPDATE slot SET next_offset = n.next_offset, command_offset = n.command_offset, recorded_at = recorded
    FROM unnest(slots, epochs, expected, next_offsets, command_offsets)
        AS n(slot, epoch, expected, next_offset, command_offset)
    WHERE slot.slot = n.slot AND slot.epoch = n.epoch AND slot.next_offset = n.expected;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> cardinality(slots) THEN
        RAISE EXCEPTION 'one of slots % has moved on without this process', slots USING ERRCODE = 'PM001';
    END IF;

    INSERT INTO event (slot, slot_offset, stream_id, version, type, data, metadata, hash, recorded_at)
    SELECT e.*, recorded
    FROM unnest(event_slots, event_offsets, event_streams, event_versions, event_types, event_data, event_metadata,
                event_hashes) AS e;

    INSERT INTO stream (id, slot, version, hash)
    SELECT * FROM unnest(head_streams, head_slots, head_versions, head_hashes)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, hash = excluded.hash;

    IF batch IS NOT NULL THEN
        DELETE FROM batch AS b WHERE b.batch_id = commit_batch.batch;
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed <> 1 THEN
            RAISE EXCEPTION 'the batch was given back by another owner' USING ERRCODE = 'PM001';
        END IF;
    END IF;

    -- So that a repetition is refused again. A rejected order needs no note: it can be looked up.
    IF cardinality(refusals) > 0 THEN
        UPDATE client_order c SET refusal = r.refusal
        FROM unnest(refused_accounts, refused_keys, refusals) AS r(account_id, key, refusal)
        WHERE c.account_id = r.account_id AND c.key = r.key;
    END IF;

    -- The locking CTE keeps the id order: a plain UPDATE locks in any order and deadlocks at once.
    WITH change AS (
        SELECT * FROM unnest(cash_accounts, credits, reserves, fees) AS c(account_id, credit, reserved, fee)
    ), locked AS MATERIALIZED (
        SELECT account_id FROM cash_account WHERE account_id = ANY(cash_accounts) ORDER BY account_id FOR UPDATE
    )
    UPDATE cash_account c SET cash_pips = cash_pips + change.credit, reserved_pips = reserved_pips + change.reserved,
        fees_paid_pips = fees_paid_pips + change.fee
    FROM locked JOIN change USING (account_id) WHERE c.account_id = locked.account_id;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> cardinality(cash_accounts) THEN
        RAISE EXCEPTION 'an account without a cash row has traded';
    END IF;
END $$;

CREATE TABLE dead_letter (
    id         uuid PRIMARY KEY,
    source     text  NOT NULL,
    payload    jsonb NOT NULL,
    error      text  NOT NULL,
    trace      text  NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Read models ------------------------------------------------------------------------------------

CREATE TABLE projection_checkpoint (
    projection  text     NOT NULL,
    slot        smallint NOT NULL,
    next_offset bigint   NOT NULL DEFAULT 0,
    recorded_at timestamptz,
    PRIMARY KEY (projection, slot)
) WITH (fillfactor = 50);

CREATE TABLE market (
    market_id     uuid PRIMARY KEY,
    slot          smallint NOT NULL,
    status        text     NOT NULL
        CHECK (status IN ('draft', 'open', 'suspended', 'closed', 'proposed', 'disputed', 'resolved', 'voided', 'reversed')),
    tick_pips     integer  NOT NULL CHECK (tick_pips > 0 AND 10000 % tick_pips = 0),
    taker_fee_e4  integer  NOT NULL CHECK (taker_fee_e4 BETWEEN 0 AND 10000),
    maker_fee_e4  integer  NOT NULL CHECK (maker_fee_e4 BETWEEN 0 AND 10000),
    created_at    timestamptz NOT NULL,
    opens_at      timestamptz,
    closes_at     timestamptz NOT NULL,
    resolved_at   timestamptz,
    resolution    jsonb,
    settlement_id uuid,
    seq           bigint NOT NULL
);
CREATE INDEX market_open ON market (closes_at) WHERE status = 'open';
CREATE INDEX market_newest ON market (created_at DESC, market_id DESC);

CREATE TABLE outcome (
    market_id uuid     NOT NULL REFERENCES market ON DELETE CASCADE,
    index     smallint NOT NULL,
    name      text     NOT NULL,
    PRIMARY KEY (market_id, index)
);

CREATE TABLE market_summary (
    market_id          uuid PRIMARY KEY,
    volume_pips        bigint NOT NULL DEFAULT 0,
    trade_count        bigint NOT NULL DEFAULT 0,
    trader_count       bigint NOT NULL DEFAULT 0,
    open_interest_sets bigint NOT NULL DEFAULT 0,
    fees_pips          bigint NOT NULL DEFAULT 0,
    last_prices        integer[] NOT NULL,
    seq                bigint NOT NULL,
    updated_at         timestamptz NOT NULL
);
CREATE INDEX market_summary_volume ON market_summary (volume_pips DESC, market_id DESC);

CREATE TABLE "order" (
    order_id        uuid PRIMARY KEY,
    market_id       uuid     NOT NULL,
    account_id      uuid     NOT NULL,
    client_order_id text,
    outcome         smallint NOT NULL,
    side            text     NOT NULL CHECK (side IN ('buy', 'sell')),
    type            text     NOT NULL CHECK (type IN ('limit', 'market')),
    price_pips      integer  NOT NULL,
    quantity        bigint   NOT NULL,
    filled          bigint   NOT NULL DEFAULT 0,
    cost_pips       bigint   NOT NULL DEFAULT 0,
    fees_pips       bigint   NOT NULL DEFAULT 0,
    reserved_pips   bigint   NOT NULL DEFAULT 0,
    time_in_force   text     NOT NULL,
    expires_at      timestamptz,
    status          text     NOT NULL CHECK (status IN ('open', 'filled', 'cancelled', 'expired', 'rejected')),
    reason          text,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    seq             bigint   NOT NULL
) PARTITION BY RANGE (order_id);
CREATE INDEX order_open_book ON "order" (market_id, outcome, side, price_pips) WHERE status = 'open';
CREATE INDEX order_trader_status ON "order" (account_id, status, order_id DESC);

CREATE TABLE trade (
    trade_id    uuid PRIMARY KEY,
    market_id   uuid     NOT NULL,
    outcome     smallint NOT NULL,
    price_pips  integer  NOT NULL,
    quantity    bigint   NOT NULL,
    taker_side  text     NOT NULL,
    executed_at timestamptz NOT NULL,
    seq         bigint   NOT NULL
) PARTITION BY RANGE (trade_id);
CREATE INDEX trade_market_time ON trade (market_id, executed_at DESC, trade_id DESC);

CREATE TABLE fill (
    trade_id        uuid     NOT NULL,
    order_id        uuid     NOT NULL,
    account_id      uuid     NOT NULL,
    market_id       uuid     NOT NULL,
    client_order_id text,
    outcome         smallint NOT NULL,
    side            text     NOT NULL,
    price_pips      integer  NOT NULL,
    quantity        bigint   NOT NULL,
    fee_pips        bigint   NOT NULL,
    role            text     NOT NULL CHECK (role IN ('maker', 'taker')),
    executed_at     timestamptz NOT NULL,
    seq             bigint   NOT NULL,
    PRIMARY KEY (order_id, trade_id)
) PARTITION BY RANGE (trade_id);
CREATE INDEX fill_account ON fill (account_id, trade_id DESC);

CREATE TABLE position (
    market_id     uuid     NOT NULL,
    account_id    uuid     NOT NULL,
    outcome       smallint NOT NULL,
    quantity      bigint   NOT NULL DEFAULT 0 CHECK (quantity >= 0),
    cost_pips     bigint   NOT NULL DEFAULT 0,
    realized_pips bigint   NOT NULL DEFAULT 0,
    PRIMARY KEY (market_id, account_id, outcome)
) PARTITION BY HASH (market_id);
CREATE INDEX position_account ON position (account_id, market_id);

CREATE TABLE participation (
    market_id     uuid   NOT NULL,
    account_id    uuid   NOT NULL,
    net_cash_pips bigint NOT NULL DEFAULT 0,
    fees_pips     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (market_id, account_id)
) PARTITION BY HASH (market_id);

DO $$
BEGIN
    FOR n IN 0..7 LOOP
        EXECUTE format('CREATE TABLE position_p%s PARTITION OF position FOR VALUES WITH (MODULUS 8, REMAINDER %s)', n, n);
        EXECUTE format('CREATE TABLE participation_p%s PARTITION OF participation FOR VALUES WITH (MODULUS 8, REMAINDER %s)', n, n);
    END LOOP;
END $$;

-- Settlement -------------------------------------------------------------------------------------

CREATE TABLE settlement (
    settlement_id   uuid PRIMARY KEY,
    market_id       uuid     NOT NULL UNIQUE,
    kind            text     NOT NULL CHECK (kind IN ('resolve', 'void')),
    status          text     NOT NULL CHECK (status IN ('pending', 'running', 'done', 'failed')),
    payouts         integer[],
    accounts_total  bigint   NOT NULL DEFAULT 0,
    accounts_paid   bigint   NOT NULL DEFAULT 0,
    paid_pips       bigint   NOT NULL DEFAULT 0,
    collateral_pips bigint   NOT NULL DEFAULT 0,
    cause_slot      smallint NOT NULL,
    cause_offset    bigint   NOT NULL,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz
);
CREATE INDEX settlement_unfinished ON settlement (created_at) WHERE status IN ('pending', 'running');

CREATE TABLE settlement_account (
    settlement_id uuid     NOT NULL,
    account_id    uuid     NOT NULL,
    step          text     NOT NULL CHECK (step IN ('take_back', 'pay')),
    amount_pips   bigint   NOT NULL,
    paid_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (settlement_id, account_id, step)
);

-- Snapshots --------------------------------------------------------------------------------------
-- A market's state after one of its events (trading/snapshots/). Derived from the log and never its truth: any row may
-- be deleted. `format` names the payload's layout; a row of another format is passed over.

CREATE TABLE market_snapshot (
    market_id   uuid     NOT NULL,
    version     bigint   NOT NULL,
    format      text     NOT NULL,
    slot_offset bigint   NOT NULL,
    event_hash  bytea    NOT NULL,
    recorded_at timestamptz NOT NULL,
    state_hash  bytea    NOT NULL,
    payload     bytea    NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (market_id, version, format)
);
-- It comes compressed.
ALTER TABLE market_snapshot ALTER payload SET STORAGE EXTERNAL;

-- The dead-man switch ----------------------------------------------------------------------------
-- By when a client must have been heard of again, or his orders are cancelled (trading/dead_man.py). Every engine
-- process reads the rows that have lapsed, so they stay a day. No `by` means every order of the account.

CREATE TABLE dead_man_switch (
    id         uuid PRIMARY KEY,
    account_id uuid        NOT NULL,
    by         text,
    reason     text        NOT NULL CHECK (reason IN ('heartbeat', 'disconnected')),
    due_at     timestamptz NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
CREATE INDEX dead_man_switch_due ON dead_man_switch (due_at);
CREATE INDEX dead_man_switch_account ON dead_man_switch (account_id);
