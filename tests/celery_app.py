"""The Celery app of the tests, as a shop has one; OPTICO_TEST_BROKER names its broker."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

app = Celery("tests", broker=os.environ.get("OPTICO_TEST_BROKER", "memory://"))
app.conf.update(
    # Of its own for each run, so that two do not take each other's tasks.
    task_default_queue=os.environ.get("OPTICO_TEST_QUEUE", "optico-tests"),
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    beat_schedule={"optico_sync": {"task": "optico_sync.sweep", "schedule": 2.0}},
)
