"""What one would write with Celery: a task for each order, which reads it and posts it. Tuned: connections are kept.

celery --app benchmarks.celery_orders worker --pool threads --concurrency 32
"""

from __future__ import annotations

import os
import threading

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import requests  # noqa: E402 - Celery looks for Django's settings when it is made

from benchmarks.senders import HEADERS  # noqa: E402
from benchmarks.stub import KEY  # noqa: E402

app = Celery("benchmarks")
app.conf.update(
    broker_url=os.environ.get("BENCHMARK_BROKER", "redis://127.0.0.1:6379/9"),
    task_ignore_result=True,
    task_default_queue="benchmark-orders",
    worker_prefetch_multiplier=8,
    broker_connection_retry_on_startup=True,
    # Else the database connection is closed around every task.
    db_reuse_max=1_000_000_000,
)
_local = threading.local()


@app.task
def send(url: str, key: str) -> None:
    from optico_sync.vendors.wire import to_json
    from tests.oddshop.models import Purchase

    if not hasattr(_local, "session"):
        _local.session = requests.Session()
    order = Purchase.objects.prefetch_related("things__article").get(pk=key)
    products = [
        {"id": line.article.sku, "name": line.title, "quantity": int(line.pieces), "cost_per_unit": line.paid}
        for line in order.things.all()
    ]
    form = {
        "key": KEY,
        "id": order.number,
        "currency": order.currency,
        "visit_id": order.visit,
        "status": order.stage,
        "products": to_json(products),
    }
    answer = _local.session.post(url, data=form, headers=HEADERS, timeout=5)
    assert answer.json()["status"] == "success"
