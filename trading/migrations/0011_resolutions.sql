-- How a market is to end, as proposed (trading/projections/resolutions.py), and settlements that undo others.

CREATE TABLE resolution (
    resolution_id    uuid PRIMARY KEY,
    market_id        uuid     NOT NULL,
    payouts          integer[],               -- NULL: a void
    evidence         text     NOT NULL,
    status           text     NOT NULL CHECK (status IN (
        'proposed', 'approved', 'disputed', 'withdrawn', 'superseded', 'settled', 'reversed')),
    proposed_by      text     NOT NULL,
    proposed_at      timestamptz NOT NULL,
    approvals_needed smallint NOT NULL,
    window_us        bigint   NOT NULL,
    approved_by      text[]   NOT NULL DEFAULT '{}',
    disputable_until timestamptz,
    disputes         integer  NOT NULL DEFAULT 0,
    reversal_by      text[]   NOT NULL DEFAULT '{}',
    reversal_id      uuid,
    updated_at       timestamptz NOT NULL
);
CREATE INDEX resolution_of_market ON resolution (market_id, resolution_id);
CREATE INDEX resolution_due ON resolution (disputable_until) WHERE status = 'approved';

-- The steps of a market's life, apart from its orders and trades, so that its history is found at once. Who took a step
-- stands in the event's metadata.
CREATE TABLE market_step (
    market_id   uuid        NOT NULL,
    seq         bigint      NOT NULL,
    slot        smallint    NOT NULL,
    slot_offset bigint      NOT NULL,
    type        text        NOT NULL,
    data        jsonb       NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (market_id, seq)
);

-- A market is settled more than once when its end is undone.
ALTER TABLE settlement DROP CONSTRAINT settlement_market_id_key;
ALTER TABLE settlement DROP CONSTRAINT settlement_kind_check;
ALTER TABLE settlement ADD CONSTRAINT settlement_kind_check CHECK (kind IN ('resolve', 'void', 'reverse'));
ALTER TABLE settlement ADD COLUMN reverses uuid;
-- The next offset of each account slot once all was paid: who settles the market again waits for them.
ALTER TABLE settlement ADD COLUMN ended_at_offsets bigint[];
ALTER TABLE settlement ADD CONSTRAINT settlement_reverses CHECK ((kind = 'reverse') = (reverses IS NOT NULL));
CREATE INDEX settlement_of_market ON settlement (market_id, created_at);

-- What was closed, so that it can be opened again as it was.
ALTER TABLE settlement_account ADD COLUMN quantities bigint[];
ALTER TABLE settlement_account ADD COLUMN costs bigint[];
ALTER TABLE settlement_account DROP CONSTRAINT settlement_account_step_check;
ALTER TABLE settlement_account ADD CONSTRAINT settlement_account_step_check
    CHECK (step IN ('take_back', 'pay', 'undo_pay', 'undo_take_back'));

-- How far each account slot is in each step. Its row is locked while a chunk is paid: workers share slots out by it.
CREATE TABLE settlement_slot (
    settlement_id uuid     NOT NULL,
    step          text     NOT NULL,
    slot          smallint NOT NULL,
    after         uuid     NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    is_done       boolean  NOT NULL DEFAULT false,
    PRIMARY KEY (settlement_id, step, slot)
);

CREATE INDEX cash_account_in_debt ON cash_account (account_id) WHERE debt_pips > 0;

ALTER TABLE ledger_entry DROP CONSTRAINT ledger_entry_kind_check;
ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_kind_check CHECK (kind IN (
    'deposit', 'withdrawal', 'order_reserved', 'order_released', 'trade', 'payout', 'refund', 'take_back', 'reversal'));
