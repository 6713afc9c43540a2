from collections.abc import Iterator

import pytest
from django.test import override_settings

from optico_sync import wakeups
from optico_sync.models import Wakeup
from tests.engines.recording import PATH, RecordingEngine
from tests.processes import wait_until
from tests.settings import OPTICO_SYNC


@pytest.fixture(autouse=True)
def bell(_django_db_marker: None) -> Iterator[None]:
    """A bell that knows nothing of earlier tests, and has told everything before the tables are emptied.

    It comes after the database, so that it goes before it.
    """
    wakeups._new_bell()
    yield
    wait_until(lambda: not wakeups._bell._times, 30)


@pytest.fixture
def engine(db: None) -> Iterator[type[RecordingEngine]]:
    """The settings name the engine that remembers."""
    RecordingEngine.reset()
    # A bell that rang in a test without transactions of its own has committed its wake-up.
    Wakeup.objects.all().delete()
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": PATH}):
        yield RecordingEngine
    RecordingEngine.reset()
