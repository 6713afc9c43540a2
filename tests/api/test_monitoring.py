"""Health and metrics, as a monitor reads them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from optico_sync.api.metrics import HealthCollector
from optico_sync.health import health
from optico_sync.models import Subject, VendorCredential, Worker
from optico_sync.models.clock import database_now
from optico_sync.relay import relay_all
from tests.api.conftest import Api
from tests.helpers import make_credential, place

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def worker(db: None) -> Worker:
    now = database_now("default")
    return Worker.objects.create(name="w", started_at=now, beat_at=now)


@pytest.fixture
def samples(monitor: Api) -> Any:
    def read() -> Samples:
        text = monitor.get("/metrics").content.decode()
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    return read


def test_health_is_what_the_command_says(monitor: Api, credential: VendorCredential, worker: Worker) -> None:
    answer = monitor.get("/health")
    assert answer.status_code == 200
    assert answer.json() | {"at": ""} == health().as_dict() | {"at": ""}


def test_broken_is_a_status_too(monitor: Api, credential: VendorCredential) -> None:
    answer = monitor.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "broken")


def test_degraded_is_no_reason_to_wake_anybody(monitor: Api, credential: VendorCredential, worker: Worker) -> None:
    VendorCredential.objects.update(opened_at=timezone.now(), failures=5)
    answer = monitor.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


def test_metrics_tell_the_totals(samples: Any, credential: VendorCredential, in_sync: Subject, worker: Worker) -> None:
    place("3001")
    relay_all()
    found: Samples = samples()
    orders = {key: value for key, value in found.items() if key[0] == "optico_sync_orders"}
    assert sum(orders.values()) == 2
    assert orders["optico_sync_orders", "Optico", "in_sync", "optico"] == 1
    assert found["optico_sync_health",] == 0
    assert found["optico_sync_workers_running",] == 1
    assert found["optico_sync_missed_captures_total",] == 0
    assert found["optico_sync_credential_state", "Optico", "optico", "sending"] == 1
    assert found["optico_sync_credential_state", "Optico", "off", "optico"] == 0
    delivered = VendorCredential.objects.get().last_delivery_at
    assert delivered
    assert found["optico_sync_last_delivery_timestamp_seconds", "Optico", "optico"] == pytest.approx(
        delivered.timestamp()
    )


def test_metrics_tell_how_long_an_order_waits(samples: Any, credential: VendorCredential) -> None:
    place()
    relay_all()
    Subject.objects.update(changed_at=database_now("default") - timezone.timedelta(minutes=10))
    assert 600 <= samples()["optico_sync_oldest_waiting_seconds", "Optico", "optico"] < 660


def test_metrics_are_in_the_format_that_prometheus_asks_for(monitor: Api) -> None:
    monitor._headers["Accept"] = (
        "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    )
    answer = monitor.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_metrics_cost_the_same_however_many_orders_there_are(monitor: Api, credential: VendorCredential) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert monitor.get("/metrics").status_code == 200
        return len(queries)

    place()
    relay_all()
    one = cost()
    for number in range(49):
        place(str(number))
    make_credential(name="second")
    relay_all()
    # The caller and its two kinds of permissions, then those of ``health``.
    assert cost() == one == 16


def test_metrics_name_no_order(monitor: Api, in_sync: Subject) -> None:
    told = monitor.get("/metrics").content.decode()
    assert in_sync.key not in told
    assert not re.search(r"\b2001\b", told)


def test_a_registry_may_take_the_collector_before_there_is_a_database() -> None:
    """pytest-django refuses the database to a test that does not ask for it."""
    CollectorRegistry(auto_describe=True).register(HealthCollector())


@pytest.mark.django_db
def test_metrics_of_a_database_that_cannot_be_asked() -> None:
    def down(*arguments: Any) -> Any:
        raise OperationalError

    with connection.execute_wrapper(down):
        (only,) = HealthCollector().collect()
    assert [sample.value for sample in only.samples] == [2]
