"""Errors as ``application/problem+json`` (RFC 9457), every one of them."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.views import set_rollback

from optico_sync.exceptions import ConfigurationError

MEDIA_TYPE = "application/problem+json"


class Conflict(exceptions.APIException):
    """What is asked for contradicts what is known. ``detail`` is by field."""

    status_code = HTTPStatus.CONFLICT


class Unavailable(exceptions.APIException):
    """The app cannot do it at the moment, and the caller did nothing wrong."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE


@csrf_exempt
def nowhere(request: HttpRequest) -> HttpResponse:
    """Every address that there is not: a page in HTML is no answer to a program."""
    return _problem(exceptions.NotFound(_("There is no such address.")))


def problem_response(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """The answer to ``error``; None for a bug, which is the project's to report."""
    known = _as_api_exception(error)
    if known is None:
        return None
    set_rollback()
    return _problem(known)


def _problem(known: exceptions.APIException) -> HttpResponse:
    status = HTTPStatus(known.status_code)
    detail = known.detail
    problem: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": status.value}
    if isinstance(detail, dict):
        problem["detail"] = " ".join(f"{field}: {_text(told)}" for field, told in detail.items())
        problem["errors"] = {str(field): _texts(told) for field, told in detail.items()}
    else:
        problem["detail"] = _text(detail)
    response = HttpResponse(json.dumps(problem), status=status, content_type=MEDIA_TYPE)
    if header := getattr(known, "auth_header", None):
        response["WWW-Authenticate"] = header
    if wait := getattr(known, "wait", None):
        response["Retry-After"] = str(int(wait) + 1)
    return response


def _as_api_exception(error: Exception) -> exceptions.APIException | None:
    if isinstance(error, exceptions.APIException):
        return error
    if isinstance(error, Http404):
        return exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, ConfigurationError):
        # Its message names the setting and the cure, and never a secret.
        return Unavailable(str(error))
    return None


def _texts(told: Any) -> list[str]:
    if isinstance(told, dict):
        return [f"{field}: {_text(inner)}" for field, inner in told.items()]
    return [str(item) for item in told] if isinstance(told, list) else [str(told)]


def _text(told: Any) -> str:
    return " ".join(_texts(told))
