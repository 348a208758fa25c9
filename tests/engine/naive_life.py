"""The naive exchange's view of a market's own life: from its creation to its end, and the way by proposals."""

import msgspec

from tests.engine.naive_accounts import NaiveAccounts
from tests.engine.naive_book import DOLLAR
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.rejection import RejectReason

REVIEW = (
    cmd.ProposeResolution, cmd.ApproveResolution, cmd.DisputeResolution, cmd.WithdrawResolution,
    cmd.SettleResolution, cmd.ReverseResolution,
)  # fmt: skip
Review = cmd.ApproveResolution | cmd.DisputeResolution | cmd.WithdrawResolution | cmd.SettleResolution


class NaiveLife(NaiveAccounts):
    """Lifecycle commands."""

    # -- the market's own life -----------------------------------------------------------------

    def create(self, command: cmd.CreateMarket) -> list[ev.Event]:
        if self.status != "unborn":
            return [refused("create", RejectReason.NOT_SUPPORTED)]
        self.terms = command
        self.status = "draft"
        said: list[ev.Event] = [ev.MarketCreated(
            market=command.market_id, question=command.question, outcomes=command.outcomes,
            category=command.category, tick=command.tick_pips, taker_fee_e4=command.taker_fee_e4,
            maker_fee_e4=command.maker_fee_e4, opens_us=command.opens_us, closes_us=command.closes_us,
            created_us=self.now_us,
        )]  # fmt: skip
        if command.opens_us is None or command.opens_us <= self.now_us:
            self.status = "open"
            said.append(ev.MarketOpened())
        return said

    def lifecycle(self, command: cmd.Command) -> list[ev.Event]:
        if isinstance(command, cmd.OpenMarket):
            return self.turn("open", ("draft",), "open", ev.MarketOpened())
        if isinstance(command, cmd.SuspendMarket):
            said = self.turn("suspend", ("open",), "suspended",
                             ev.MarketSuspended(reason=command.reason, code=command.code))  # fmt: skip
            return said + (self.leave_suspended(self.sweep_size) if self.status == "suspended"
                           and isinstance(said[0], ev.MarketSuspended) else [])  # fmt: skip
        if isinstance(command, cmd.ResumeMarket):
            gone = self.leave_suspended(len(self.orders)) if self.status == "suspended" else []
            until_us = self.now_us + command.phase_us if command.phase else None
            said = self.turn("resume", ("suspended",), "open",
                             ev.MarketResumed(phase=command.phase, until_us=until_us))  # fmt: skip
            if isinstance(said[0], ev.MarketResumed):
                self.phase, self.phase_ends_us = command.phase, until_us or 0
            return gone + said
        if isinstance(command, cmd.SweepOrders):
            return self.go_on()
        return self.close(command)

    def go_on(self) -> list[ev.Event]:
        if self.status in ("suspended", "proposed", "disputed") and self.closing is None:
            return self.leave_suspended(self.sweep_size)
        over = self.status in ("resolved", "voided", "reversed", "open", "draft", "unborn")
        return [] if over or self.closing is None else self.sweep()

    def in_phase(self, kind: str) -> bool:
        return self.phase == kind and self.now_us < self.phase_ends_us

    # -- the way by proposals ------------------------------------------------------------------

    def review(self, command: Review | cmd.ProposeResolution | cmd.ReverseResolution) -> list[ev.Event]:
        verb, no = type(command).__name__.removesuffix("Resolution").lower(), RejectReason.MARKET_NOT_OPEN
        if isinstance(command, cmd.ReverseResolution):
            return self.reverse(command)
        if isinstance(command, cmd.ProposeResolution):
            return self.propose(command)
        bid = self.proposed
        if self.status not in ("proposed", "disputed") or (self.closing and self.closing.reason != "time"):
            return [refused(verb, no)]
        assert bid is not None
        if isinstance(command, cmd.SettleResolution) and self.status == "disputed":
            return [refused(verb, no)]
        if bid.resolution_id != command.resolution_id:
            return [refused(verb, RejectReason.NOT_FOUND)]
        window_over = self.window_ends_us is not None and self.window_ends_us <= self.now_us
        if isinstance(command, cmd.SettleResolution):
            return self.end_as(bid) if window_over else [refused(verb, no)]
        if isinstance(command, cmd.WithdrawResolution):
            self.status = "suspended" if self.before == "open" else self.before
            self.proposed = None
            return [ev.ResolutionWithdrawn(
                by=command.by, reason=command.reason, resolution=command.resolution_id, status=self.status
            )]  # fmt: skip
        if isinstance(command, cmd.DisputeResolution):
            if window_over:
                return [refused(verb, no)]
            if not any(self.shares.get(command.account_id, [])):
                return [refused(verb, RejectReason.NOT_A_HOLDER)]
            if len(self.objectors) >= 50:
                return [refused(verb, RejectReason.EXCEEDS_LIMITS)]
            if command.account_id in self.objectors:
                return [refused(verb, RejectReason.NOT_SUPPORTED)]
            if self.status == "proposed":
                self.friends, self.window_ends_us = [], None
            self.status, self.contested = "disputed", True
            self.objectors.append(command.account_id)
            return [ev.ResolutionDisputed(
                account=command.account_id, reason=command.reason, resolution=command.resolution_id
            )]  # fmt: skip
        assert isinstance(command, cmd.ApproveResolution)
        if command.by in (bid.by, *self.friends):
            return [refused(verb, RejectReason.SECOND_PERSON_NEEDED)]
        if self.window_ends_us is not None:
            return [refused(verb, no)]
        self.friends.append(command.by)
        upheld = self.status == "disputed"
        enough = len(self.friends) >= (max(1, bid.approvals) if upheld else bid.approvals)
        at_once = enough and (upheld or not bid.window_us)
        if enough and not at_once:
            self.window_ends_us = self.now_us + bid.window_us
        yes = ev.ResolutionApproved(
            by=command.by, resolution=command.resolution_id, until_us=self.window_ends_us
        )
        return [yes, *self.end_as(bid)] if at_once else [yes]

    def propose(self, command: cmd.ProposeResolution) -> list[ev.Event]:
        decided = self.closing is not None and self.closing.reason != "time"
        if self.status in ("resolved", "voided") or decided:
            return [refused("propose", RejectReason.MARKET_NOT_OPEN)]
        if self.proposed is not None and self.proposed.resolution_id == command.resolution_id:
            return [refused("propose", RejectReason.NOT_SUPPORTED)]
        if self.status not in ("proposed", "disputed"):
            self.before = self.status
        if self.contested and not command.approvals:
            command = msgspec.structs.replace(command, approvals=1)
        self.status, self.proposed, self.friends, self.objectors = "proposed", command, [], []
        self.window_ends_us = None if command.approvals else self.now_us + command.window_us
        said = ev.ResolutionProposed(
            approvals=command.approvals, by=command.by, evidence=command.evidence, payouts=command.payouts_pips,
            resolution=command.resolution_id, until_us=self.window_ends_us, window_us=command.window_us,
        )  # fmt: skip
        if command.approvals or command.window_us:
            return [said, *self.go_on()]
        return [said, *self.end_as(command)]

    def end_as(self, bid: cmd.ProposeResolution) -> list[ev.Event]:
        self.proposed = None
        closed = ev.MarketClosed(
            reason="void" if bid.payouts_pips is None else "resolution", payouts=bid.payouts_pips,
            settlement=bid.resolution_id, evidence=bid.evidence,
        )  # fmt: skip
        self.status, self.closing = "closed", closed
        return [closed, *self.sweep()]

    def reverse(self, command: cmd.ReverseResolution) -> list[ev.Event]:
        if self.status not in ("resolved", "voided"):
            return [refused("reverse", RejectReason.MARKET_NOT_OPEN)]
        if command.reverses is not None and self.closing and command.reverses != self.closing.settlement:
            return [refused("reverse", RejectReason.NOT_FOUND)]
        if command.by in self.undoers:
            return [refused("reverse", RejectReason.SECOND_PERSON_NEEDED)]
        if not self.undoers:
            self.undoing = command
        assert self.undoing is not None
        missing = self.undoing.approvals - len(self.undoers)
        if missing:
            self.undoers.append(command.by)
            return [ev.ReversalRequested(
                approvals=missing, by=command.by, evidence=command.evidence
            )]  # fmt: skip
        assert self.closing is not None
        assert self.closing.settlement is not None
        said = ev.ResolutionReversed(
            by=command.by, evidence=command.evidence, reverses=self.closing.settlement,
            settlement=command.settlement_id, sets=self.pot // DOLLAR,
        )  # fmt: skip
        self.status, self.closing, self.undoers = "reversed", None, []
        return [said]

    def close(self, command: cmd.Command) -> list[ev.Event]:
        reviewed = self.status in ("proposed", "disputed")
        allowed = (self.closing is None or self.closing.reason == "time") and not reviewed
        if isinstance(command, cmd.CloseMarket):
            verb, closed = "close", ev.MarketClosed(reason="time")
            allowed = self.closing is None and self.status in (
                "draft", "open", "suspended", "proposed", "disputed"
            )  # fmt: skip
        elif isinstance(command, cmd.ResolveMarket):
            verb, closed = "resolve", ev.MarketClosed(
                reason="resolution", payouts=command.payouts_pips, settlement=command.settlement_id,
                evidence=command.evidence,
            )  # fmt: skip
        else:
            assert isinstance(command, cmd.VoidMarket)
            verb, closed = "void", ev.MarketClosed(
                reason="void", settlement=command.settlement_id, evidence=command.evidence
            )  # fmt: skip
        if not allowed:
            return [refused(verb, RejectReason.MARKET_NOT_OPEN)]
        self.closing = closed
        if reviewed:
            self.before = "closed"
        else:
            self.status = "closed"
        return [closed, *self.sweep()]

    def turn(self, verb: str, where: tuple[str, ...], status: str, event: ev.Event) -> list[ev.Event]:
        if self.status not in where:
            return [refused(verb, RejectReason.MARKET_NOT_OPEN)]
        self.status = status
        return [event]

    def leave_suspended(self, most: int) -> list[ev.Event]:
        leaving = [order for order in self.orders if order.terms.on_suspend == "cancel"]
        return [self.end(order, "market_suspended") for order in leaving[:most]]

    def sweep(self) -> list[ev.Event]:
        closing = self.closing
        assert closing is not None
        said = [self.end(order, "market_closed") for order in self.orders[: self.sweep_size]]
        if self.orders or closing.settlement is None:
            return said
        self.contested = False
        ends = {"settlement": closing.settlement, "evidence": closing.evidence,
                "sets": self.pot // DOLLAR, "fees": self.fees}  # fmt: skip
        if closing.payouts is not None:
            self.status = "resolved"
            return [*said, ev.MarketResolved(payouts=closing.payouts, **ends)]
        self.status = "voided"
        return [*said, ev.MarketVoided(**ends)]


def refused(
    verb: str, reason: RejectReason, *, account: str | None = None, order: str | None = None
) -> ev.Event:
    return ev.CommandRefused(account=account, command=verb, order=order, reason=reason.value)
