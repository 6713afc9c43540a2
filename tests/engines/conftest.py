from collections.abc import Iterator

import pytest
from django.test import override_settings

from optico_sync import wakeups
from optico_sync.models import Wakeup
from tests.engines.recording import PATH, RecordingEngine
from tests.processes import wait_until
from tests.settings import OPTICO_SYNC


@pytest.fixture(autouse=True)
def bell(request: pytest.FixtureRequest, _django_db_marker: None) -> Iterator[None]:
    """A bell that knows nothing of earlier tests, and has told everything before the tables are emptied.

    It comes after the database, so that it goes before it.
    """
    wakeups._new_bell()
    if request.node.get_closest_marker("django_db"):
        # A bell that rang in a test that is rolled back has committed its wake-up all the same.
        Wakeup.objects.all().delete()
    yield
    wait_until(lambda: not wakeups._bell._times, 30)


@pytest.fixture
def engine() -> Iterator[type[RecordingEngine]]:
    """The settings name the engine that remembers."""
    RecordingEngine.reset()
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": PATH}):
        yield RecordingEngine
    RecordingEngine.reset()
