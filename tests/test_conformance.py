"""``docs/conformance.md`` lists every numbered conformance case beside the tests that carry its number."""

from __future__ import annotations

import re
from pathlib import Path

from tests.settings import BASE_DIR

TABLE = BASE_DIR / "docs" / "conformance.md"
#: How many cases each vendor document gave rise to.
CASES = {"OS": 15, "OC": 15, "OZ": 13, "GR": 15, "OM": 15}
HEAD = """# Conformance

Each vendor's document was turned into numbered cases: OS for Optico's Sales API, OC for its Cart API, OM for Ometria,
OZ for Optimizely, GR for Guaranteed Reviews. Where a case and the document disagree, the test follows the document and
its comment says why. This table is made from the tests by `python -m tests.test_conformance`, and a test holds it
against them.

| case | tests |
| --- | --- |
"""


def found() -> dict[str, list[str]]:
    """Case -> the tests whose name or first line carries its number."""
    tests: dict[str, list[str]] = {}
    for path in sorted((BASE_DIR / "tests").rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        for name, doc in re.findall(r'def (test_\w+)\([^)]*\)[^:]*:\n(?: +"""([^\n]*))?', source):
            numbers = re.findall(r"test_(os|oc|oz|gr|om)_(\d\d)", name) + re.findall(
                r"\b(OS|OC|OZ|GR|OM)-(\d\d)\b", doc
            )
            for vendor, number in numbers:
                tests.setdefault(f"{vendor.upper()}-{number}", []).append(f"`{where(path)}::{name}`")
    return tests


def where(path: Path) -> str:
    return path.relative_to(BASE_DIR).as_posix()


def table() -> str:
    tests = found()
    cases = [f"{vendor}-{number:02}" for vendor, count in CASES.items() for number in range(1, count + 1)]
    return HEAD + "".join(f"| {case} | {', '.join(tests[case])} |\n" for case in cases if case in tests)


def test_every_case_has_a_test() -> None:
    cases = {f"{vendor}-{number:02}" for vendor, count in CASES.items() for number in range(1, count + 1)}
    assert sorted(cases - found().keys()) == []


def test_the_table_is_up_to_date() -> None:
    assert TABLE.read_text(encoding="utf-8") == table()


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
