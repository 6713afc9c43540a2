"""What every page shows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def shop(request: HttpRequest) -> dict[str, Any]:
    return {"sandbox_url": f"{settings.SANDBOX_URL}/sandbox/"}
