"""The Celery app of the tests, as a shop has one; OPTICO_TEST_BROKER names its broker."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def make_app(broker: str, queue: str) -> Celery:
    """An app that is the current one in every thread."""
    made = Celery("tests", broker=broker)
    made.conf.update(
        task_default_queue=queue,
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=1,
        beat_schedule={"optico_sync": {"task": "optico_sync.round", "schedule": 2.0}},
    )
    made.set_current()
    made.set_default()
    return made


app = make_app(os.environ.get("OPTICO_TEST_BROKER", "memory://"), os.environ.get("OPTICO_TEST_QUEUE", "optico-tests"))
