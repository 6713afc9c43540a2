"""The demo shop, with the peers that are installed beside it."""

import os
from importlib.util import find_spec

from shop_demo.settings import *  # noqa: F403 - they are the shop's
from shop_demo.settings import DATABASES, INSTALLED_APPS, OPTICO_SYNC, TEMPLATES  # noqa: F401
from tests.settings import OPTICO_SYNC as TEST_SYNC

INSTALLED_APPS += [peer for peer in ("django_tasks_db", "django_outbox_pattern") if find_spec(peer)]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, as in life.
    DATABASES["default"]["TEST"] = {"NAME": f"{DATABASES['default']['NAME']}.benchmark"}
# A worker beside is told the test database by its own name.
if name := os.environ.get("OPTICO_TEST_DATABASE"):
    DATABASES["default"]["NAME"] = name
OPTICO_SYNC |= {
    "ENCRYPTION_KEYS": TEST_SYNC["ENCRYPTION_KEYS"],
    "ALLOWED_NETWORKS": ["127.0.0.0/8"],
}
LOGGING_CONFIG = None
