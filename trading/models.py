"""The exchange's rows as Django sees them: unmanaged models over the tables of migration 0001.

They exist for reading (selectors, admin). What writes them is the shard's commit, cash.py,
settlement.py and the projections, all in SQL; saving one of these models is a mistake.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Slot(models.Model):
    """One ordered part of the log: its owner, fence (epoch), next offset and consumed command."""

    slot = models.SmallIntegerField(primary_key=True)
    kind = models.TextField()
    owner = models.TextField(null=True)
    epoch = models.BigIntegerField()
    next_offset = models.BigIntegerField()
    command_offset = models.TextField()
    recorded_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "slot"


class Event(models.Model):
    """An immutable fact. Its id in the API is slot-offset."""

    pk = models.CompositePrimaryKey("slot", "slot_offset")
    slot = models.SmallIntegerField()
    slot_offset = models.BigIntegerField()
    stream_id = models.UUIDField()
    version = models.BigIntegerField()
    type = models.TextField()
    data = models.JSONField()
    metadata = models.JSONField()
    hash = models.BinaryField()
    recorded_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "event"


class CashAccount(models.Model):
    """Free cash, cash reserved in open orders, debt and fees paid of one account, in pips."""

    account_id = models.UUIDField(primary_key=True)
    cash_pips = models.BigIntegerField()
    reserved_pips = models.BigIntegerField()
    debt_pips = models.BigIntegerField()
    fees_paid_pips = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "cash_account"


class MarketState(models.Model):
    """A market's terms and lifecycle, projected from its events."""

    market_id = models.UUIDField(primary_key=True)
    slot = models.SmallIntegerField()
    status = models.TextField()
    tick_pips = models.IntegerField()
    taker_fee_e4 = models.IntegerField()
    maker_fee_e4 = models.IntegerField()
    created_at = models.DateTimeField()
    opens_at = models.DateTimeField(null=True)
    closes_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)
    resolution = models.JSONField(null=True)
    settlement_id = models.UUIDField(null=True)
    seq = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "market"


class Outcome(models.Model):
    """A possible answer of a market; index 0 is the one whose book a binary market keeps."""

    pk = models.CompositePrimaryKey("market_id", "index")
    market = models.ForeignKey(MarketState, models.DO_NOTHING, db_column="market_id", related_name="outcomes")
    index = models.SmallIntegerField()
    name = models.TextField()

    class Meta:
        managed = False
        db_table = "outcome"


class MarketSummary(models.Model):
    """Running totals of a market's trading."""

    market_id = models.UUIDField(primary_key=True)
    volume_pips = models.BigIntegerField()
    trade_count = models.BigIntegerField()
    trader_count = models.BigIntegerField()
    open_interest_sets = models.BigIntegerField()
    fees_pips = models.BigIntegerField()
    last_prices = ArrayField(models.IntegerField(null=True))
    seq = models.BigIntegerField()
    updated_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "market_summary"


class Order(models.Model):
    """An order as its events left it, in its owner's terms."""

    order_id = models.UUIDField(primary_key=True)
    market_id = models.UUIDField()
    account_id = models.UUIDField()
    client_order_id = models.TextField(null=True)
    outcome = models.SmallIntegerField()
    side = models.TextField()
    type = models.TextField()
    price_pips = models.IntegerField()
    quantity = models.BigIntegerField()
    filled = models.BigIntegerField()
    cost_pips = models.BigIntegerField()
    fees_pips = models.BigIntegerField()
    reserved_pips = models.BigIntegerField()
    time_in_force = models.TextField()
    expires_at = models.DateTimeField(null=True)
    status = models.TextField()
    reason = models.TextField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    seq = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "order"


class Trade(models.Model):
    """One outcome leg of an execution; it names no account."""

    trade_id = models.UUIDField(primary_key=True)
    market_id = models.UUIDField()
    outcome = models.SmallIntegerField()
    price_pips = models.IntegerField()
    quantity = models.BigIntegerField()
    taker_side = models.TextField()
    executed_at = models.DateTimeField()
    seq = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "trade"


class Fill(models.Model):
    """One order's part of an execution, in the owner's terms."""

    pk = models.CompositePrimaryKey("order_id", "trade_id")
    trade_id = models.UUIDField()
    order_id = models.UUIDField()
    account_id = models.UUIDField()
    market_id = models.UUIDField()
    client_order_id = models.TextField(null=True)
    outcome = models.SmallIntegerField()
    side = models.TextField()
    price_pips = models.IntegerField()
    quantity = models.BigIntegerField()
    fee_pips = models.BigIntegerField()
    role = models.TextField()
    executed_at = models.DateTimeField()
    seq = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "fill"


class Position(models.Model):
    """Shares of one outcome that an account holds, with what they cost."""

    pk = models.CompositePrimaryKey("market_id", "account_id", "outcome")
    market_id = models.UUIDField()
    account_id = models.UUIDField()
    outcome = models.SmallIntegerField()
    quantity = models.BigIntegerField()
    cost_pips = models.BigIntegerField()
    realized_pips = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "position"


class Settlement(models.Model):
    """The paying out of a resolved market, or the unwinding of a voided one."""

    settlement_id = models.UUIDField(primary_key=True)
    market_id = models.UUIDField()
    kind = models.TextField()
    status = models.TextField()
    payouts = ArrayField(models.IntegerField(), null=True)
    accounts_total = models.BigIntegerField()
    accounts_paid = models.BigIntegerField()
    paid_pips = models.BigIntegerField()
    collateral_pips = models.BigIntegerField()
    cause_slot = models.SmallIntegerField()
    cause_offset = models.BigIntegerField()
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "settlement"


class Job(models.Model):
    """Background work that is waiting or under way; trading.jobs writes it."""

    id = models.UUIDField(primary_key=True)
    name = models.TextField()
    queue = models.TextField()
    payload = models.JSONField()
    key = models.TextField(unique=True)
    tries = models.SmallIntegerField()
    epoch = models.BigIntegerField()
    due_at = models.DateTimeField()
    hinted_at = models.DateTimeField(null=True)
    claimed_until = models.DateTimeField(null=True)
    give_up_at = models.DateTimeField()
    created_at = models.DateTimeField()
    last_error = models.TextField()

    class Meta:
        managed = False
        db_table = "job"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.name} {self.key}"


class DeadLetter(models.Model):
    """Work that failed for good, kept with its payload and trace until someone decides, and after that too.

    Only a letter of a job has a name, queue and key, and can be requeued.
    """

    id = models.UUIDField(primary_key=True)
    source = models.TextField()
    payload = models.JSONField()
    error = models.TextField()
    trace = models.TextField()
    created_at = models.DateTimeField()
    job_name = models.TextField(null=True)
    job_queue = models.TextField(null=True)
    job_key = models.TextField(null=True)
    tries = models.SmallIntegerField(null=True)
    requeued_at = models.DateTimeField(null=True)
    requeued_by = models.TextField(null=True)
    discarded_at = models.DateTimeField(null=True)
    discarded_by = models.TextField(null=True)

    class Meta:
        managed = False
        db_table = "dead_letter"
        default_permissions = ("view",)
        permissions = [
            ("requeue_deadletter", "Can requeue dead letters"),
            ("discard_deadletter", "Can discard dead letters"),
        ]

    def __str__(self) -> str:
        return f"{self.job_name or self.source} {self.job_key or self.id}"
