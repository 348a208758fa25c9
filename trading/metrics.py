"""The exchange's own figures for Prometheus, as objects that the code at work counts on.

With several processes each counts in files of its own under PROMETHEUS_MULTIPROC_DIR, and `/metrics` adds them up.
Names are public: dashboards and alerts use them.
"""

from prometheus_client import Counter, Gauge, Histogram

ORDERS = Counter("exchange_orders_total", "Orders by what became of them", ["outcome"])
TRADES = Counter("exchange_trades_total", "Trades committed")
REFUSALS = Counter("exchange_refusals_total", "Refused requests and orders", ["code"])

BATCH_SIZE = Histogram(
    "exchange_batch_commands",
    "Commands in a batch of a shard",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
BATCH_SECONDS = Histogram(
    "exchange_batch_seconds",
    "Time a batch took, by step: reserve, match, commit, publish. While a long queue waits, steps of batches overlap",
    ["step"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
SLOT_LAG = Gauge(
    "exchange_slot_lag_commands", "Commands waiting for the shard", ["slot"], multiprocess_mode="mostrecent"
)

PROJECTION_LAG_EVENTS = Gauge(
    "exchange_projection_lag_events",
    "Events committed and not yet projected",
    ["projection"],
    multiprocess_mode="mostrecent",
)
PROJECTION_LAG_SECONDS = Gauge(
    "exchange_projection_lag_seconds",
    "Age of what a projection shows",
    ["projection"],
    multiprocess_mode="mostrecent",
)

STALENESS_SECONDS = Histogram(
    "exchange_projection_staleness_seconds",
    "From an event's time to its being shown: `way` until the projector has read it, `work` from there to the commit "
    "of the rows, `whole` both. Once for each batch of the engine's and projection",
    ["projection", "part"],
    buckets=(
        0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5,
        10, 30,
    ),
)  # fmt: skip

PROJECTION_HALTED = Gauge(
    "exchange_projection_halted",
    "1 where a projection has stopped at an event it cannot apply",
    ["projection"],
    multiprocess_mode="mostrecent",
)
PROJECTED_EVENTS = Counter(
    "exchange_projected_events_total", "Events applied to the read models", ["projection"]
)

CACHE_READS = Counter(
    "exchange_cache_reads_total",
    "Reads of remembered answers by where the answer came from: l1, l2, worked_out, or shared with who worked it out",
    ["cache", "level"],
)

REPLICA_LAG = Gauge(
    "exchange_replica_lag_seconds",
    "A replica shows everything that is older than this",
    ["replica"],
    multiprocess_mode="mostrecent",
)
REPLICA_UP = Gauge(
    "exchange_replica_up", "1 where a replica may serve reads", ["replica"], multiprocess_mode="mostrecent"
)
REPLICA_READS = Counter(
    "exchange_replica_reads_total",
    "Answers that may come from a replica, by the server that gave them",
    ["server"],
)

JOB_RUNS = Counter(
    "exchange_job_runs_total", "Runs of background jobs by how they ended", ["queue", "outcome"]
)
JOBS_DUE = Gauge(
    "exchange_jobs_due", "Jobs that are due and not under way", ["queue"], multiprocess_mode="mostrecent"
)
JOBS_OLDEST_DUE_SECONDS = Gauge(
    "exchange_jobs_oldest_due_seconds",
    "For how long the oldest of them has been due",
    ["queue"],
    multiprocess_mode="mostrecent",
)
QUEUE_HEARTBEAT_SECONDS = Gauge(
    "exchange_queue_heartbeat_seconds",
    "Time since a worker of the queue has run its heartbeat",
    ["queue"],
    multiprocess_mode="mostrecent",
)
DEAD_LETTERS = Gauge(
    "exchange_dead_letters",
    "Dead letters on which nobody has decided",
    ["source"],
    multiprocess_mode="mostrecent",
)

BREAKERS_OPEN = Gauge(
    "exchange_breakers_open",
    "Services outside that are left alone since they kept failing, by kind: mail, webhook",
    ["kind"],
    multiprocess_mode="mostrecent",
)

SOCKETS = Gauge("exchange_sockets", "Open WebSockets", multiprocess_mode="livesum")
FRAMES = Counter("exchange_frames_total", "Frames sent to WebSockets")
