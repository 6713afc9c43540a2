"""How text and numbers go onto the wire, alike for every vendor."""

from __future__ import annotations

import simplejson


def clean_text(text: str) -> str:
    """``text`` without control characters (line breaks and tabs stay) and lone surrogates, trimmed."""
    return "".join(
        char for char in text if (char >= " " or char in "\n\t") and not "\ud800" <= char <= "\udfff"
    ).strip()


def to_json(value: object) -> str:
    """Pure ASCII, as PHP's ``json_encode`` in the vendor's examples; a ``Decimal`` is written as it stands."""
    return simplejson.dumps(value, use_decimal=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
