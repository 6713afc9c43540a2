"""What a twin of a vendor's API is, and what twins share.

A request goes one way for all of them (`views.TwinView`)::

    Message -> speaks? -> parse -> Call -> judge, which stores -> Outcome -> answer

To add a twin: a module with a `ledger.Part` for what it remembers and a `Twin`, named in `vendors.ROUTES`.
"""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, NoReturn

from django.http import HttpResponse, QueryDict
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from optico_sync.sandbox.ledger import STORED, Ledger, Part

FIELDS_SHOWN = 200
DEPTH_SHOWN = 8
JSON_TYPE = "application/json"

Form = dict[str, list[str]]


class Message:
    """A request, read only as far as a twin asks."""

    def __init__(self, request: Request, record_id: str = "") -> None:
        self.request = request
        self.record_id = record_id
        self.method: str = request.method or ""
        self.content_type: str = request.META.get("CONTENT_TYPE", "")
        self.query: str = request.META.get("QUERY_STRING", "")

    @property
    def media_type(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()

    def header(self, name: str) -> str:
        value: str = self.request.META.get(f"HTTP_{name.upper().replace('-', '_')}", "")
        return value

    @cached_property
    def form(self) -> Form:
        """Every POST field with all its values; empty unless the request is a form the twin can read."""
        if self.method != "POST":
            return {}
        try:
            data = self.request.data
        except (UnsupportedMediaType, ParseError):
            return {}
        return dict(data.lists()) if isinstance(data, QueryDict) else {}

    @cached_property
    def body(self) -> bytes:
        return self.request.body


@dataclass(kw_only=True)
class Call:
    """What a request says: whose records it concerns, and how the journal shows it (it masks secrets itself)."""

    ids: Sequence[str]
    fields: dict[str, str]
    remarks: list[str]
    content: Any


@dataclass(frozen=True, kw_only=True)
class Outcome:
    verdict: str = STORED
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()


class Twin(ABC):
    vendor: ClassVar[str]
    title: ClassVar[str]
    endpoint: ClassVar[str]
    parsers: ClassVar[tuple[type[BaseParser], ...]] = ()
    part: ClassVar[type[Part]]
    columns: ClassVar[tuple[str, ...]] = ()

    def speaks(self, message: Message) -> bool:
        """Whether the message is this twin's, where several share a path."""
        return True

    @abstractmethod
    def parse(self, message: Message) -> Call: ...

    @abstractmethod
    def judge(self, call: Call, ledger: Ledger, *, seq: int) -> Outcome:
        """Judge, and store what is right; one after the other, or two requests could both be first."""

    def answer(self, outcome: Outcome) -> HttpResponse:
        return HttpResponse(
            json.dumps(outcome.body), status=outcome.status, content_type=JSON_TYPE, headers=dict(outcome.headers)
        )

    # What it remembers

    def records(self, ledger: Ledger, *, latest: int | None = None) -> list[dict[str, Any]]:
        """All records, the latest touched first."""
        return ledger.records(self.part, latest=latest)

    def record(self, ledger: Ledger, record_id: str) -> dict[str, Any] | None:
        return ledger.record(self.part, record_id)

    def count(self, ledger: Ledger) -> int:
        return ledger.count(self.part)

    def cells(self, record: dict[str, Any]) -> Sequence[Any]:
        """A record in the `columns` of the journal page, after its id."""
        return ()


# JSON


def read_json(text: str | bytes) -> Any:
    """JSON as vendors read it: no NaN, no number beyond a float, no half of a surrogate pair. ValueError if not."""
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def read_object(message: Message) -> dict[str, Any] | None:
    """The body, if it is a JSON object."""
    try:
        value = read_json(message.body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def unreadable(message: Message) -> dict[str, str]:
    """What the journal keeps of a body nobody can read: it may hold personal data anywhere."""
    return {"(body)": f"{len(message.body)} bytes, not a JSON object"}


def flatten(value: Any) -> dict[str, str]:
    """Nested values under dotted names, as the journal shows them."""
    shown: dict[str, str] = {}
    for name, text in _flat(value, "", DEPTH_SHOWN):
        if len(shown) == FIELDS_SHOWN:
            shown["(more)"] = "..."
            break
        shown[name] = text
    return shown


def _flat(value: Any, name: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, (dict, list)) and value and not depth:
        yield name, "..."
    elif isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key), depth - 1)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{index}]", depth - 1)
    else:
        yield name, json.dumps(value) if isinstance(value, (dict, list, bool, int, float, type(None))) else str(value)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Schemas


@dataclass
class Findings:
    errors: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def error(self, name: str, text: str) -> None:
        self.errors.append((name, text))

    def remark(self, text: str) -> None:
        self.remarks.append(text)

    def __str__(self) -> str:
        return "; ".join(f"{name}: {text}" for name, text in self.errors)


Rule = Callable[[Any, str, Findings], None]


@dataclass(frozen=True, kw_only=True)
class Field:
    """A documented field. "Expected": the document asks for it in one place and does without in another."""

    kind: str
    need: Literal["required", "expected", "optional"] = "optional"
    of: "Mapping[str, Field] | None" = None
    rule: Rule | None = None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_numeral(value: Any) -> bool:
    if isinstance(value, str):
        try:
            return math.isfinite(float(value)) and value == value.strip() and "_" not in value
        except ValueError:
            return False
    return _is_number(value)


KINDS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    # As PHP takes them: 7 or "7".
    "scalar": lambda value: isinstance(value, str) or _is_number(value),
    "whole numeral": lambda value: _is_numeral(value) and (isinstance(value, int) or float(value).is_integer()),
    "numeral": _is_numeral,
}


def inspect(value: Mapping[str, Any], fields: Mapping[str, Field], findings: Findings, where: str = "") -> None:
    """Compare an object with its documented fields."""
    for name in value:
        if name not in fields:
            findings.remark(f"unknown field {where}{name[:40]}")
    for name, expected in fields.items():
        if name in value:
            _inspect_field(value[name], expected, f"{where}{name}", findings)
        elif expected.need == "required":
            findings.error(f"{where}{name}", "is required")
        elif expected.need == "expected":
            findings.remark(f"no {where}{name}")


def _inspect_field(value: Any, expected: Field, name: str, findings: Findings) -> None:
    if not KINDS[expected.kind](value):
        findings.error(name, f"is not of type {expected.kind}")
        return
    if value == "" and expected.need == "required":
        findings.error(name, "is empty")
        return
    if expected.of is not None and expected.kind == "object":
        inspect(value, expected.of, findings, f"{name}.")
    elif expected.of is not None:
        for index, item in enumerate(value):
            if isinstance(item, dict):
                inspect(item, expected.of, findings, f"{name}[{index}].")
            else:
                findings.error(f"{name}[{index}]", "is not of type object")
    if expected.rule is not None:
        expected.rule(value, name, findings)


# Remarks


def wrong_method(message: Message, *allowed: str) -> list[str]:
    return [] if message.method in allowed else [f"method {message.method}: only {' and '.join(allowed)} documented"]


def wrong_type(message: Message, *allowed: str) -> list[str]:
    return [] if message.media_type in allowed else [f"content type is not {' or '.join(allowed)}"]


def query_string(message: Message) -> list[str]:
    return ["query string: none documented"] if message.query else []
