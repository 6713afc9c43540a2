"""Read-only questions: where does an order stand, what happened to it, does everything run?

No answer is guessed, and none is costly: what could grow is bounded.
"""

from optico_sync.insight.lines import (
    CredentialLine,
    Waiting,
    compared,
    credential_lines,
    credentials,
    oldest_waiting,
    waiting,
)
from optico_sync.insight.machinery import (
    Captures,
    Heartbeat,
    Unseen,
    WorkerState,
    captures,
    heartbeat,
    installation,
    last_round,
    pulse,
    unseen,
    worker_state,
    workers_now,
)
from optico_sync.insight.spans import spell
from optico_sync.insight.standing import (
    Standing,
    attribution_facts,
    holders,
    reasons,
    shop_key,
    standings,
    standings_by_key,
)
from optico_sync.insight.story import Change, Deed, Exchange, Timeline, attribution_of, events_of, timeline

__all__ = [
    "Captures",
    "Change",
    "CredentialLine",
    "Deed",
    "Exchange",
    "Heartbeat",
    "Standing",
    "Timeline",
    "Unseen",
    "Waiting",
    "WorkerState",
    "attribution_facts",
    "attribution_of",
    "captures",
    "compared",
    "credential_lines",
    "credentials",
    "events_of",
    "heartbeat",
    "holders",
    "installation",
    "last_round",
    "oldest_waiting",
    "pulse",
    "reasons",
    "shop_key",
    "spell",
    "standings",
    "standings_by_key",
    "timeline",
    "unseen",
    "waiting",
    "worker_state",
    "workers_now",
]
