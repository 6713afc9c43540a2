"""Whether all is well, for monitors."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from optico_sync.api.base import Door
from optico_sync.api.serializers import HealthSerializer
from optico_sync.health import Level, health


class HealthView(Door):
    """Fine, degraded or broken, why, and the numbers behind it. Status 503 when broken. No personal data."""

    needs = "view_worker"
    operation = "get_health"
    answers = {200: HealthSerializer, 503: HealthSerializer}

    def get(self, request: Request) -> Response:
        found = health()
        return Response(found.as_dict(), status=503 if found.level == Level.BROKEN else 200)
