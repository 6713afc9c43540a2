"""Orders: where each stands, what happened to it, what an operator can do, whose it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from optico_sync import insight
from optico_sync.api import serializers
from optico_sync.api.base import Door
from optico_sync.api.paging import NewestFirst
from optico_sync.api.problems import Conflict, Unavailable
from optico_sync.attribution import NOTHING, Attribution, stated
from optico_sync.capture import set_attribution
from optico_sync.exceptions import InvalidAttribution
from optico_sync.listing import Listing
from optico_sync.models import Subject, VendorCredential
from optico_sync.verbs import do

logger = logging.getLogger(__name__)


class OrderList(Door):
    """Orders, newest first, each with where it stands with every credential."""

    needs = "view_subject"
    operation = "list_orders"
    query = serializers.OrderQuerySerializer
    answers = {200: serializers.OrderPageSerializer}
    problems = (400,)

    def get(self, request: Request) -> Response:
        known = insight.credentials()
        orders = _chosen(self.asked(request), known)
        pages = NewestFirst()
        page = pages.read(orders, request)
        rows = insight.standings(page, known)
        for subject in page:
            subject.standings = rows[subject.pk]  # type: ignore[attr-defined]
        return pages.get_paginated_response(serializers.OrderSerializer(page, many=True).data)


class OrderDetail(Door):
    """One order with its time line. Requests and answers are for those who may send it again, as in the admin."""

    needs = "view_subject"
    operation = "get_order"
    answers = {200: serializers.OrderDetailSerializer}
    problems = (404,)

    def get(self, request: Request, key: str) -> Response:
        subject = _find(key)
        rows = insight.standings([subject])[subject.pk]
        bodies = request.user.has_perm("optico_sync.resend_subject")
        timeline = insight.timeline(subject, rows, bodies=bodies)
        subject.standings = rows  # type: ignore[attr-defined]
        subject.timeline = serializers.timeline_facts(timeline, bodies=bodies)  # type: ignore[attr-defined]
        return Response(serializers.OrderDetailSerializer(subject).data)


class Verb(Door):
    """Does one of the operator's verbs to one order."""

    needs = "resend_subject"
    body = serializers.VerbSerializer
    answers = {200: serializers.AffectedSerializer}
    problems = (400, 404, 415, 503)
    verb = ""

    def post(self, request: Request, key: str) -> Response:
        subject = _find(key)
        credential_id, known = self.given(request).get("credential"), insight.credentials()
        if credential_id is not None:
            _check_credential(credential_id, known)
        credential = next((one for one in known if one.pk == credential_id), None)
        done = do(self.verb, [subject], user=request.user, credential=credential)
        logger.info("API: %s for subject %s by user %s: %s.", self.operation, subject.pk, request.user.pk, done.count)
        return Response({"affected": done.count})


class ResendOrder(Verb):
    """Send the order again, with its content and status of now. Rules hold as ever."""

    operation = "resend_order"
    verb = "resend"


class HoldOrder(Verb):
    """Send nothing of the order until it is released."""

    operation = "hold_order"
    verb = "hold"


class ReleaseOrder(Verb):
    """Let go what was held by hand, and try again what was refused."""

    operation = "release_order"
    verb = "release"


class WithholdOrder(Verb):
    """Send no more of the order, whatever changes, until it is sent after all."""

    operation = "withhold_order"
    verb = "withhold"


class SendOrderAfterAll(Verb):
    """Undo that the order is not sent: everything that came about meanwhile is sent."""

    operation = "send_order_after_all"
    verb = "send_after_all"


class ConfirmOrder(Verb):
    """Somebody looked: the vendor has what was sent without a clear answer."""

    operation = "confirm_order"
    verb = "confirm"


class AttributeOrder(Door):
    """Say whose visit or call the order is, and which agent took it.

    The first value known wins: another one is a conflict, the same one again changes nothing. What is new is sent to
    the vendors by itself.
    """

    needs = "attribute_subject"
    operation = "attribute_order"
    body = serializers.StatedAttributionSerializer
    answers = {202: serializers.AttributionSerializer}
    problems = (400, 404, 409, 415, 503)

    def post(self, request: Request, key: str) -> Response:
        seen = self._seen(request)
        order_key = insight.shop_key(key)
        if order_key is None:
            raise NotFound(_("There is no order with this key in the shop."))
        known = insight.attribution_of(order_key)
        whole = known.or_else(seen)
        if clashes := _clashes(seen, whole):
            raise Conflict(clashes)
        if whole != known:
            if not set_attribution(order_key, visit_id=seen.visit_id, call_id=seen.call_id, agent=seen.agent):
                raise Unavailable(_("It could not be recorded: the app is switched off, or its log says why."))
            logger.info("API: %s for order %s by user %s.", self.operation, order_key, request.user.pk)
        return Response(serializers.AttributionSerializer(whole).data, status=202)

    def _seen(self, request: Request) -> Attribution:
        try:
            seen = stated(**self.given(request))
        except InvalidAttribution as error:
            raise ValidationError({error.field: [error.cure]}) from error
        if seen == NOTHING:
            raise ValidationError(_("Give at least one of visit_id, call_id and agent."))
        return seen


def _chosen(asked: Mapping[str, Any], known: list[VendorCredential]) -> Listing:
    """The orders that fit all of what is asked."""
    if "credential" in asked:
        _check_credential(asked["credential"], known)
    return Listing(
        known=known,
        state=asked.get("state", ""),
        reason=asked.get("reason", ""),
        credential_id=asked.get("credential"),
        attributed=asked.get("attributed", ""),
        term=asked.get("q", ""),
    )


def _find(key: str) -> Subject:
    # No key holds a NUL, and PostgreSQL refuses to be asked for one.
    subject = None if "\x00" in key else Subject.objects.filter(kind=Subject.Kind.ORDER, key=key).first()
    if subject is None:
        told = _("No change of such an order was ever seen. An older one is made known by optico_resync --key.")
        raise NotFound(told)
    return subject


def _check_credential(credential_id: int, known: list[VendorCredential]) -> None:
    if credential_id not in [credential.pk for credential in known]:
        names = ", ".join(f"{credential.pk} ({credential.name})" for credential in known) or _("none")
        told = _("There is no such credential. Known: %(names)s.") % {"names": names}
        raise ValidationError({"credential": [told]})


def _clashes(seen: Attribution, whole: Attribution) -> dict[str, Any]:
    told = [_("is known already, and the first value known wins.")]
    return {
        field: told
        for field in ("visit_id", "call_id", "agent")
        if getattr(seen, field) and getattr(seen, field) != getattr(whole, field)
    }
