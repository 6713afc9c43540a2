"""The numbers of ``health`` for Prometheus. Needs the extra ``metrics``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from django.db import Error as DatabaseError
from django.http import HttpResponse
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from optico_sync.api.base import Door
from optico_sync.health import Health, Level, health
from optico_sync.insight import CredentialLine

_WHOSE = ("credential", "vendor")


class HealthCollector:
    """Asks the tables when it is asked, at the cost of one ``health``; keeps nothing.

    A project with a registry of its own registers it there: ``REGISTRY.register(HealthCollector())``.
    """

    def describe(self) -> Iterable[Metric]:
        """Nothing: else registering would ask the database, at import."""
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            found = health()
        except DatabaseError:
            yield _level(Level.BROKEN)
            return
        yield _level(found.level)
        yield from _of_machinery(found)
        yield from _of_credentials(found)


def _level(level: Level) -> Metric:
    return GaugeMetricFamily("optico_sync_health", "0 fine, 1 degraded, 2 broken.", value=int(level))


def _of_machinery(found: Health) -> Iterator[Metric]:
    yield GaugeMetricFamily("optico_sync_workers_running", "Workers with a heartbeat.", value=found.worker.running)
    if heard := found.worker.worker:
        told = "The newest heartbeat."
        yield GaugeMetricFamily("optico_sync_worker_beat_timestamp_seconds", told, value=heard.beat_at.timestamp())
    told = "Changes in the shop that could not be recorded."
    yield CounterMetricFamily("optico_sync_missed_captures", told, value=found.captures.missed)
    told = "Changes of the last seven days that the sweep found and capture missed."
    yield GaugeMetricFamily("optico_sync_sweep_found", told, value=found.unseen.missed)
    told = "How long captured changes wait to be taken up, beyond half a minute."
    waiting = _age(found.captures.waiting_since, found.at)
    yield GaugeMetricFamily("optico_sync_captures_waiting_seconds", told, value=waiting)


def _of_credentials(found: Health) -> Iterator[Metric]:
    orders = GaugeMetricFamily(
        "optico_sync_orders", "Orders by where they stand; the six states add up to all.", labels=[*_WHOSE, "state"]
    )
    state = GaugeMetricFamily("optico_sync_credential_state", "1 for what it does now.", labels=[*_WHOSE, "state"])
    waiting = GaugeMetricFamily(
        "optico_sync_oldest_waiting_seconds", "How long the longest-waiting order waits.", labels=_WHOSE
    )
    delivered = GaugeMetricFamily(
        "optico_sync_last_delivery_timestamp_seconds", "The newest success; absent before it.", labels=_WHOSE
    )
    for credential in found.credentials:
        whose = [credential.name, credential.line.credential.vendor]
        for name, count in credential.totals.items():
            orders.add_metric([*whose, name], count)
        for one in CredentialLine.State:
            state.add_metric([*whose, one.value], one == credential.line.state)
        waiting.add_metric(whose, _age(credential.oldest_waiting_since, found.at))
        if at := credential.line.credential.last_delivery_at:
            delivered.add_metric(whose, at.timestamp())
    yield from (orders, state, waiting, delivered)


def _age(since: datetime | None, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0) if since else 0.0


class _PlainText(BaseRenderer):
    media_type = "text/plain"
    format = "txt"


class MetricsView(Door):
    """The numbers of the health in Prometheus' text format."""

    needs = "view_worker"
    operation = "get_metrics"
    renderer_classes = (_PlainText,)
    answers = {(200, "text/plain"): str}

    def get(self, request: Request) -> HttpResponse:
        registry = CollectorRegistry()
        registry.register(HealthCollector())
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)
