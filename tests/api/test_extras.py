"""The schema and the metrics are extras: without their packages the rest works."""

from __future__ import annotations

import subprocess
import sys

from tests.settings import BASE_DIR

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("drf_spectacular", "prometheus_client"):
            raise ModuleNotFoundError(name)

import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name in ("drf_spectacular", "prometheus_client") else find_spec(name, package)
)
sys.meta_path.insert(0, Absent())

import django
django.setup()
from django.core.management import call_command
call_command("check")
from optico_sync.api.urls import v1
print(*(route.name for route in v1))
"""


def test_without_the_extras_the_rest_is_there() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        cwd=BASE_DIR,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(BASE_DIR)},
        capture_output=True,
        text=True,
        check=True,
    )
    names = done.stdout.split()
    assert {"orders", "health", "attribution"} <= set(names)
    assert not {"schema", "metrics"} & set(names)
