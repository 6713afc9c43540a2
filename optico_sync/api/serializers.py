"""The shapes of what the API takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from optico_sync.health import Level
from optico_sync.insight import Change, CredentialLine, Deed, Exchange, Timeline, WorkerState
from optico_sync.models import OutboxEvent, SyncState
from optico_sync.outcome import REASONS

MAX_PAGE = 200
BIGGEST_ID = 2**63 - 1


class Question(serializers.Serializer):
    """Takes nothing that it does not know: a misspelt name must not mean "all of them"."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Mapping) and (unknown := sorted(set(map(str, data)) - set(self.fields))):
            told = _("There is no such field. Known: %(fields)s.") % {"fields": ", ".join(self.fields)}
            raise serializers.ValidationError({name: [told] for name in unknown})
        return super().to_internal_value(data)


# what it is asked


class OrderQuerySerializer(Question):
    state = serializers.ChoiceField(SyncState.State.values, required=False, help_text="Where the order stands.")
    reason = serializers.ChoiceField(
        [code for code in REASONS if code], required=False, help_text="Why it stands there."
    )
    credential = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=BIGGEST_ID,
        help_text="Id of a vendor credential. State, reason and credential are of one and the same standing.",
    )
    attributed = serializers.ChoiceField(
        ["visit", "call", "no"], required=False, help_text="To a visit, to a call, or to no one."
    )
    q = serializers.CharField(
        required=False, max_length=255, help_text="The beginning of a reference, or a whole key in the shop."
    )
    cursor = serializers.CharField(required=False, help_text="From `next` or `previous` of an earlier answer.")
    page_size = serializers.IntegerField(required=False, min_value=1, max_value=MAX_PAGE, default=50)


class VerbSerializer(Question):
    credential = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=BIGGEST_ID,
        help_text="Id of the one vendor credential it is about; without it, all of them.",
    )


class StatedAttributionSerializer(Question):
    visit_id = serializers.CharField(required=False, allow_blank=True, help_text="As Optico's cookie holds it.")
    call_id = serializers.CharField(required=False, allow_blank=True, help_text="A whole number, as text.")
    agent = serializers.CharField(required=False, allow_blank=True, help_text="One line, at most 150 characters.")


# what it answers


class ProblemSerializer(serializers.Serializer):
    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, and what to do.")
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()), required=False, help_text="By field."
    )


class CredentialSerializer(serializers.Serializer):
    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    vendor = serializers.CharField()


class ReasonSerializer(serializers.Serializer):
    code = serializers.CharField(source="reason_code")
    text = serializers.CharField(source="reason.text")
    advice = serializers.CharField(source="reason.advice")


class StandingSerializer(serializers.Serializer):
    """Where an order stands with one credential."""

    credential = CredentialSerializer()
    state = serializers.ChoiceField(SyncState.State.values)
    reason = ReasonSerializer(source="*")
    detail = serializers.CharField(source="sync.detail", help_text="The vendor's own message, redacted.")
    accepted_status = serializers.CharField(source="sync.accepted_status", help_text="The last one the vendor took.")
    accepted_is_sale = serializers.BooleanField(source="sync.accepted_is_sale", allow_null=True)
    delivered_at = serializers.DateTimeField(source="sync.delivered_at", allow_null=True)
    queued = serializers.ListField(child=serializers.CharField(), help_text="Shop statuses still to be told.")
    refused_status = serializers.CharField(source="sync.refused_status")
    attempts = serializers.IntegerField(source="sync.attempts", help_text="Since the last success.")
    is_being_sent = serializers.BooleanField()
    next_attempt_at = serializers.DateTimeField(source="next_at", allow_null=True)


class AttributionSerializer(serializers.Serializer):
    visit_id = serializers.CharField()
    call_id = serializers.CharField()
    agent = serializers.CharField()
    cart_key = serializers.CharField()


class OrderSerializer(serializers.Serializer):
    """Needs ``standings`` beside the subject's own fields."""

    key = serializers.CharField(help_text="Its primary key in the shop.")
    reference = serializers.CharField(help_text="What customers call it.")
    status = serializers.CharField(help_text="Its status in the shop.")
    first_seen_at = serializers.DateTimeField(source="created_at")
    changed_at = serializers.DateTimeField()
    deleted_at = serializers.DateTimeField(allow_null=True)
    attribution = AttributionSerializer()
    sources = serializers.DictField(
        child=serializers.CharField(), help_text="Attribution field -> where its value was first seen."
    )
    standings = StandingSerializer(many=True)


class OrderPageSerializer(serializers.Serializer):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = OrderSerializer(many=True)


class ChangeSerializer(serializers.Serializer):
    """Something was saved in the shop."""

    change = serializers.ChoiceField(OutboxEvent.Change.values)
    status = serializers.CharField()
    count = serializers.IntegerField(help_text="Repeats with nothing between them count as one.")
    first_at = serializers.DateTimeField()
    is_relayed = serializers.BooleanField(help_text="Whether a worker has taken it up.")


class AttemptSerializer(serializers.Serializer):
    """One exchange with a vendor, redacted."""

    credential = CredentialSerializer()
    outcome = serializers.ChoiceField(Exchange.Outcome.values)
    reason = ReasonSerializer()
    detail = serializers.CharField()
    shop_status = serializers.CharField()
    status = serializers.CharField(help_text="The status it was sent under.")
    http_status = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField()
    request = serializers.CharField(allow_null=True, help_text="Only for those who may send again.")
    answer = serializers.CharField(allow_null=True, help_text="Only for those who may send again.")


class DeedSerializer(serializers.Serializer):
    """What somebody did in an admin or by this API, from Django's admin log."""

    who = serializers.CharField()
    told = serializers.CharField()
    is_ours = serializers.BooleanField(help_text="A verb of ours; else a change in the shop's own admin.")


class EntrySerializer(serializers.Serializer):
    """A change, an attempt or a deed: one of the three."""

    at = serializers.DateTimeField()
    change = ChangeSerializer(allow_null=True)
    attempt = AttemptSerializer(allow_null=True)
    deed = DeedSerializer(allow_null=True)


class TimelineSerializer(serializers.Serializer):
    entries = EntrySerializer(many=True, help_text="Newest first.")
    more_changes = serializers.BooleanField(help_text="Whether older ones were left out.")
    more_attempts = serializers.BooleanField(help_text="Whether older ones were left out.")


class OrderDetailSerializer(OrderSerializer):
    """Needs ``timeline`` too."""

    timeline = TimelineSerializer()


class AffectedSerializer(serializers.Serializer):
    affected = serializers.IntegerField(help_text="Sends queued, or standings that the verb changed.")


class HealthProblemSerializer(serializers.Serializer):
    level = serializers.ChoiceField([level.word for level in Level if level])
    code = serializers.CharField()
    credential = serializers.CharField(help_text="Its name; empty when it is about none.")
    text = serializers.CharField()


class TotalsSerializer(serializers.Serializer):
    """Six numbers that add up to all orders."""

    waiting = serializers.IntegerField()
    retrying = serializers.IntegerField()
    in_sync = serializers.IntegerField()
    refused = serializers.IntegerField()
    not_sent = serializers.IntegerField()
    held = serializers.IntegerField()


class CredentialHealthSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    vendor = serializers.CharField()
    state = serializers.ChoiceField(CredentialLine.State.values)
    reason = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    next_probe_at = serializers.DateTimeField(allow_null=True)
    last_delivery_at = serializers.DateTimeField(allow_null=True)
    oldest_waiting_since = serializers.DateTimeField(allow_null=True)
    totals = TotalsSerializer(allow_null=True, help_text="Null while no worker has counted very many orders.")
    orders = serializers.IntegerField(allow_null=True, help_text="The sum of the totals.")
    counted_at = serializers.DateTimeField(allow_null=True, help_text="Null for just now.")


class WorkerSerializer(serializers.Serializer):
    running = serializers.IntegerField()
    state = serializers.ChoiceField(WorkerState.values, allow_null=True)
    name = serializers.CharField(allow_null=True)
    beat_at = serializers.DateTimeField(allow_null=True)


class CapturesSerializer(serializers.Serializer):
    missed = serializers.IntegerField()
    last_missed_at = serializers.DateTimeField(allow_null=True)
    waiting_since = serializers.DateTimeField(allow_null=True)


class SweepSerializer(serializers.Serializer):
    found = serializers.IntegerField()
    swept_at = serializers.DateTimeField(allow_null=True)


class HealthSerializer(serializers.Serializer):
    """As ``health().as_dict()`` gives it; `optico_health --json` prints the same."""

    status = serializers.ChoiceField([level.word for level in Level])
    at = serializers.DateTimeField()
    problems = HealthProblemSerializer(many=True)
    credentials = CredentialHealthSerializer(many=True)
    worker = WorkerSerializer()
    captures = CapturesSerializer()
    sweep = SweepSerializer()


def timeline_facts(timeline: Timeline, *, bodies: bool) -> dict[str, Any]:
    """``timeline`` as ``TimelineSerializer`` reads it. Without ``bodies`` what was sent and answered is not touched."""
    return {
        "entries": [_entry(entry, bodies=bodies) for entry in timeline.entries],
        "more_changes": timeline.more_changes,
        "more_attempts": timeline.more_attempts,
    }


def _entry(entry: Change | Exchange | Deed, *, bodies: bool) -> dict[str, Any]:
    parts: dict[str, Any] = {"at": entry.at, "change": None, "attempt": None, "deed": None}
    if isinstance(entry, Change):
        return {**parts, "change": entry}
    if isinstance(entry, Deed):
        return {**parts, "deed": entry}
    made = entry.attempt
    facts = {
        "credential": entry.credential,
        "outcome": entry.outcome,
        "reason": {"reason_code": made.reason, "reason": made.shown_reason},
        "detail": made.detail,
        "shop_status": made.shop_status,
        "status": made.status,
        "http_status": made.http_status,
        "duration_ms": made.duration_ms,
        "request": made.request if bodies else None,
        "answer": made.answer if bodies else None,
    }
    return {**parts, "attempt": facts}
