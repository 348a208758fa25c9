-- Work that is waiting or under way. It is inserted in the transaction of what causes it and deleted when it is done.
CREATE TABLE job (
    id            uuid PRIMARY KEY,
    name          text     NOT NULL,
    queue         text     NOT NULL,
    payload       jsonb    NOT NULL,
    key           text     NOT NULL UNIQUE,
    tries         smallint NOT NULL DEFAULT 0,
    epoch         bigint   NOT NULL DEFAULT 0,  -- raised by each claim: a worker whose lease was lost finds another one
    due_at        timestamptz NOT NULL,
    hinted_at     timestamptz,
    claimed_until timestamptz,
    give_up_at    timestamptz NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_error    text     NOT NULL DEFAULT ''
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX job_due ON job (queue, due_at);

-- Letters of other sources than jobs (a shard's poisoned command, a settlement) have no name, queue and key.
ALTER TABLE dead_letter
    ADD COLUMN job_name     text,
    ADD COLUMN job_queue    text,
    ADD COLUMN job_key      text,
    ADD COLUMN tries        smallint,
    ADD COLUMN requeued_at  timestamptz,
    ADD COLUMN requeued_by  text,
    ADD COLUMN discarded_at timestamptz,
    ADD COLUMN discarded_by text;
CREATE INDEX dead_letter_open ON dead_letter (created_at) WHERE requeued_at IS NULL AND discarded_at IS NULL;
CREATE INDEX dead_letter_open_key ON dead_letter (job_key)
    WHERE job_key IS NOT NULL AND requeued_at IS NULL AND discarded_at IS NULL;

-- When a periodic task last had a round: what keeps two beats from making it do each twice.
CREATE TABLE periodic_round (
    name       text PRIMARY KEY,
    claimed_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- When a worker of a queue last ran something, and since when its silence is known.
CREATE TABLE queue_heartbeat (
    queue        text PRIMARY KEY,
    ran_at       timestamptz NOT NULL,
    silent_since timestamptz
) WITH (fillfactor = 50);
INSERT INTO queue_heartbeat (queue, ran_at)
    SELECT queue, now() FROM unnest(ARRAY['settlement', 'market', 'notify', 'report']) AS queue;
