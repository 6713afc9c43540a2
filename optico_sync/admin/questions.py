"""“What will this do?” between a form or button and its deed: the numbers first, then yes or no.

What was typed goes along in the page's own form, all but secrets: those wait in the session, encrypted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from optico_sync.models.fields import seal, unseal
from optico_sync.preview import Preview, to_type

#: The cut-off date, as the form splits it.
START = ("start_at_0", "start_at_1")
_SESSION = "optico_sync_typed"
_OWN = {"csrfmiddlewaretoken", "confirmed", "back", "shown", "shown_start", "typed", *START}


def is_confirmed(request: HttpRequest) -> bool:
    """Whether somebody has seen the numbers and wants them, typed where they are large."""
    post = request.POST
    if "confirmed" not in post or post.get("shown_start", "") != _start(post):
        return False
    shown = post.get("shown", "")
    if shown not in ("", "0") and post.get("typed", "").strip() != shown:
        messages.error(request, _("Type the number to confirm."))
        return False
    return True


def question(request: HttpRequest, found: Sequence[Preview], *, secrets: Collection[str] = ()) -> dict[str, Any]:
    """What the page of the question needs; ``secrets`` are the names of the fields whose values must not be on it."""
    return {
        "found": found,
        "must_type": to_type(found),
        "kept": [
            (name, value)
            for name, values in request.POST.lists()
            if name not in _OWN and name not in secrets
            for value in values
        ],
        "start": [(name, request.POST[name]) for name in START if name in request.POST],
        "shown_start": _start(request.POST),
        "keeps_secret": any(request.POST.get(name) for name in secrets),
    }


def _start(post: QueryDict) -> str:
    return " ".join(post.get(name, "") for name in START).strip()


@sensitive_variables()
def keep_secrets(request: HttpRequest, secrets: Collection[str]) -> None:
    """Put what was typed into these fields aside until the question is answered."""
    if typed := {name: value for name in secrets if (value := request.POST.get(name))}:
        request.session[_SESSION] = seal(json.dumps({"path": request.path, "typed": typed}))


@sensitive_variables()
def give_secrets_back(request: HttpRequest) -> None:
    """Fill in what was put aside for this very page."""
    sealed = request.session.pop(_SESSION, "")
    kept = json.loads(unseal(sealed)) if sealed else {}
    if kept.get("path") == request.path:
        post = request.POST.copy()
        post.update(kept["typed"])
        request.POST = post  # type: ignore[assignment]
