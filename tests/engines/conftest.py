from collections.abc import Iterator

import pytest
from django.test import override_settings

from optico_sync import wakeups
from tests.engines.recording import PATH, RecordingEngine
from tests.settings import OPTICO_SYNC


@pytest.fixture
def engine() -> Iterator[type[RecordingEngine]]:
    """The settings name the engine that remembers."""
    RecordingEngine.reset()
    # What an earlier test committed is none of this one's business.
    wakeups._new_bell()
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": PATH}):
        yield RecordingEngine
    RecordingEngine.reset()
