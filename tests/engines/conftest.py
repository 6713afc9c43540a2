from collections.abc import Iterator

import pytest
from django.test import override_settings

from optico_sync import wakeups
from tests.engines.recording import PATH, RecordingEngine
from tests.processes import wait_until
from tests.settings import OPTICO_SYNC


@pytest.fixture(autouse=True)
def bell() -> Iterator[None]:
    """A bell that knows nothing of earlier tests, and has told everything before the tables are emptied."""
    wakeups._new_bell()
    yield
    wait_until(lambda: not wakeups._bell._times, 30)


@pytest.fixture
def engine() -> Iterator[type[RecordingEngine]]:
    """The settings name the engine that remembers."""
    RecordingEngine.reset()
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": PATH}):
        yield RecordingEngine
    RecordingEngine.reset()
