"""``python -m tests.api.write_openapi`` writes docs/openapi.yaml anew."""

import os
import sys

import django

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from tests.api.test_openapi import FILE, as_yaml

    FILE.write_text(as_yaml(), encoding="utf-8")
    sys.stdout.write(f"Wrote {FILE}.\n")
