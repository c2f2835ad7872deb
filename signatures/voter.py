"""The citizen's signatures: stand for office, vote and, once elected, set tax rates."""

import dspy

from signatures.types import Identity, OutsideName, Platform, RateChange


class StandForOffice(dspy.Signature):
    """Decide whether you stand for election as the leader who sets the tax rates.

    If you stand, propose one change in percentage points for each bracket, lowest bracket first."""

    tax_schedule: str = dspy.InputField(desc="marginal rates now")
    last_rebate: str = dspy.InputField()
    identity: Identity = dspy.InputField()
    record: str = dspy.InputField(desc="your years so far")
    stand: bool = dspy.OutputField()
    rate_changes: Platform = dspy.OutputField(desc="your platform, or null")


class CastVote(dspy.Signature):
    """Vote, as the ballot asks, for the leader who will set the tax rates, or abstain."""

    tax_schedule: str = dspy.InputField(desc="marginal rates now")
    last_rebate: str = dspy.InputField()
    ballot: str = dspy.InputField(desc="what to answer and how it is counted")
    candidates: str = dspy.InputField()
    identity: Identity = dspy.InputField()
    record: str = dspy.InputField(desc="your years so far")
    vote: str = dspy.OutputField()


class GovernAsLeader(dspy.Signature):
    """You were elected leader. Choose one change in percentage points for each tax bracket, lowest first.

    Workers answer your rates with their hours, and all revenue returns to them as an equal rebate.
    Weigh the public objective, what you promised and your own interest as the person you are.
    explore: move to a promising schedule that the record lacks.
    exploit: move to the schedule that you expect to be best."""

    objective: str = dspy.InputField(desc="the public's")
    economy: str = dspy.InputField(desc="last year")
    record: str = dspy.InputField(desc="schedules tried")
    tax_schedule: str = dspy.InputField(desc="marginal rates now; each stays within 0-100")
    phase: str = dspy.InputField(desc="explore or exploit")
    identity: Identity = dspy.InputField(desc="you")
    own_record: str = dspy.InputField(desc="your years as a worker")
    platform: OutsideName = dspy.InputField(desc="what you promised")
    rate_changes: tuple[RateChange, ...] = dspy.OutputField()
