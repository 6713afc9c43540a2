"""How text and numbers go onto the wire, alike for every vendor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote_plus

import simplejson


def clean_text(text: str) -> str:
    """``text`` without control characters (line breaks and tabs stay) and lone surrogates, trimmed."""
    return _UNCLEAN.sub("", text).strip()


def to_json(value: object) -> str:
    """Pure ASCII, as PHP's ``json_encode`` in the vendor's examples; a ``Decimal`` is written as it stands."""
    return _ENCODER.encode(value)


def to_form(fields: Iterable[tuple[str, str]]) -> str:
    """What ``urllib.parse.urlencode`` makes of them, which walks through every character in Python."""
    return "&".join(f"{_quote(name)}={_quote(value)}" for name, value in fields)


def _quote(text: str) -> str:
    return text.translate(_QUOTED) if text.isascii() else quote_plus(text)


def to_brackets(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Form fields as PHP's ``http_build_query`` writes them: ``name[0][key]``, true as 1, None as nothing.

    A bracket in a key would nest it elsewhere, so it becomes an underscore; a key that is empty is left out.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key := str(key).translate(_NO_BRACKETS):
                yield from to_brackets(f"{name}[{key}]", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from to_brackets(f"{name}[{index}]", item)
    elif value is not None:
        yield name, str(int(value)) if isinstance(value, bool) else str(value)


_UNCLEAN = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff]")
_ENCODER = simplejson.JSONEncoder(use_decimal=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
_QUOTED = {code: quote_plus(chr(code)) for code in range(128)}
_NO_BRACKETS = str.maketrans("[]", "__", "\x00")
