"""The schema of the API, made from what its views say about themselves. Needs the extra ``openapi``."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiViewExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.settings import patched_settings
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from optico_sync.api.base import Door
from optico_sync.api.problems import MEDIA_TYPE
from optico_sync.api.serializers import ProblemSerializer

#: Who is not let in, asks in a form that is not spoken, or too often.
_ALWAYS = (401, 403, 406, 429)

#: In place of the project's own, which are for its own API.
_SETTINGS = {
    "TITLE": "Optico sync",
    "DESCRIPTION": "Where orders stand with the vendors. Paths begin where the project includes the API's addresses.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/v1",
    "ENUM_NAME_OVERRIDES": {},
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums"],
    "PREPROCESSING_HOOKS": [],
    "COMPONENT_SPLIT_REQUEST": False,
    "SERVERS": [],
    "TAGS": [],
}

_KEY = OpenApiParameter("key", str, OpenApiParameter.PATH, description="The order's primary key in the shop.")


class DoorSchema(AutoSchema):
    """Reads the attributes of a ``Door``."""

    view: Any

    def get_operation_id(self) -> str:
        return self.view.operation

    def get_override_parameters(self) -> list[Any]:
        asked = [self.view.query] if self.view.query else []
        return [*asked, _KEY] if "{key}" in self.path else asked

    def get_request_serializer(self) -> Any:
        return self.view.body if self.method == "POST" else None

    def get_response_serializers(self) -> Any:
        problems = sorted({*_ALWAYS, *self.view.problems})
        return {**self.view.answers, **{(status, MEDIA_TYPE): ProblemSerializer for status in problems}}

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False


class _DoorExtension(OpenApiViewExtension):
    target_class = "optico_sync.api.base.Door"
    match_subclasses = True

    def view_replacement(self) -> type[Door]:
        return type(self.target.__name__, (self.target,), {"schema": DoorSchema(), "__doc__": self.target.__doc__})


class _QuestionExtension(OpenApiSerializerExtension):
    target_class = "optico_sync.api.serializers.Question"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "additionalProperties": False}


def schema() -> dict[str, Any]:
    """The schema of the whole API, as plain data."""
    with patched_settings(_SETTINGS):
        generator = SchemaGenerator(urlconf="optico_sync.api.urls")
        return generator.get_schema(request=None, public=True)


class SchemaView(Door):
    """The schema, as YAML or JSON."""

    needs = "view_subject"
    # It does not describe itself.
    schema = None
    renderer_classes = (OpenApiYamlRenderer, OpenApiJsonRenderer)

    def get(self, request: Request) -> Response:
        return Response(schema())
