"""What all views of the API have in common: who may come in, and how they speak."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import JSONParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from optico_sync import conf
from optico_sync.api.problems import problem_response


class MayUse(BasePermission):
    """Staff with the permissions that the view names: the same ones as in the admin."""

    message = ""

    def has_permission(self, request: Request, view: APIView) -> bool:
        needed = f"optico_sync.{view.needs}"  # type: ignore[attr-defined]
        if not request.user.is_staff:
            self.message = _("Only staff may use this.")
            return False
        self.message = _("This needs the permission %(permission)s.") % {"permission": needed}
        return request.user.has_perm(needed)


class Door(APIView):
    """Authentication and throttles are the project's own unless ``OPTICO_SYNC`` names others; permissions never are.

    What a view says about itself is plain data, so that a schema can be made of it without being needed.
    """

    #: The address says the version.
    versioning_class = None
    parser_classes = (JSONParser,)
    renderer_classes: Sequence[type[BaseRenderer]] = (JSONRenderer,)
    #: The schema tells more than OPTIONS would.
    metadata_class = None

    #: The permission of this app that it takes.
    needs = ""
    #: Its name in the schema.
    operation = ""
    #: What it is asked with, in the address and in the body.
    query: type[Serializer] | None = None
    body: type[Serializer] | None = None
    #: What it answers when all is well: status, or status and media type -> shape.
    answers: Mapping[Any, Any] = {}
    #: What else it may answer; each is a problem.
    problems: tuple[int, ...] = ()

    def get_authenticators(self) -> list[BaseAuthentication]:
        return _made(conf.options().API_AUTHENTICATION) or super().get_authenticators()

    def get_permissions(self) -> list[Any]:
        return _made(conf.options().API_PERMISSIONS) or [MayUse()]

    def get_throttles(self) -> list[BaseThrottle]:
        return _made(conf.options().API_THROTTLES) or super().get_throttles()

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Any]:
        return problem_response

    def asked(self, request: Request) -> dict[str, Any]:
        """The query, checked."""
        assert self.query is not None
        return _valid(self.query, request.query_params.dict())

    def given(self, request: Request) -> dict[str, Any]:
        """The body, checked."""
        assert self.body is not None
        return _valid(self.body, request.data)


def _valid(shape: type[Serializer], data: Any) -> dict[str, Any]:
    serializer = shape(data=data)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def _made(paths: tuple[str, ...]) -> list[Any]:
    return [import_string(path)() for path in paths]
