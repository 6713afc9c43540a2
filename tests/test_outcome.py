"""Reason codes are closed: what the code uses has words, and what has words is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.functional import Promise

import optico_sync
from optico_sync.outcome import REASONS, Kind, Scope, credential_refused, delivered, not_sent, refused, retry

PACKAGE = Path(optico_sync.__file__).parent
BUILDERS = {"delivered", "retry", "refused", "credential_refused", "not_sent", "pause", "_pause", "Outcome"}


def sources() -> Iterator[Path]:
    return (path for path in PACKAGE.rglob("*.py") if not {"sandbox", "migrations"} & set(path.parts))


def texts(node: ast.AST | None) -> set[str]:
    """The texts an expression can be: itself, or either side of a condition."""
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def named(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def codes(tree: ast.AST) -> set[str]:
    """Every reason code in a module: arguments of what builds outcomes, and what is called ``reason``."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and named(node.func) in BUILDERS:
            position = 1 if named(node.func) == "_pause" else 0
            found |= texts(node.args[position] if len(node.args) > position else None)
            for keyword in node.keywords:
                found |= texts(keyword.value) if keyword.arg == "reason" else set()
        elif isinstance(node, ast.Assign) and any(named(target).endswith("reason") for target in node.targets):
            found |= texts(node.value)
        elif isinstance(node, ast.FunctionDef) and node.name == "hold_reason":
            found |= {text for part in ast.walk(node) if isinstance(part, ast.Return) for text in texts(part.value)}
    return found


USED = {code: path for path in sources() for code in codes(ast.parse(path.read_text()))}


@pytest.mark.parametrize("code", sorted(USED))
def test_every_code_in_the_package_has_words(code: str) -> None:
    assert code in REASONS, USED[code]


WRITTEN = {
    node.value
    for path in sources()
    if path.name != "outcome.py"
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}


@pytest.mark.parametrize("code", sorted(REASONS.keys() - {delivered().reason}))
def test_every_reason_is_given_somewhere(code: str) -> None:
    assert code in WRITTEN


def test_the_codes_were_found() -> None:
    assert {"timeout", "certificate", "secret_unreadable", "credential_off", "unknown_status", "key_refused"} <= set(
        USED
    )


@pytest.mark.parametrize("code", sorted(REASONS.keys() - {""}))
def test_every_reason_says_what_happened(code: str) -> None:
    reason = REASONS[code]
    # Translated when shown: the reader's language is not known when the module is loaded.
    assert isinstance(reason.text, Promise) and str(reason.text).endswith(".")
    assert isinstance(reason.advice, Promise) or code in ("accepted", "unchanged")
    assert len(code) <= 50


def test_waiting_needs_no_words() -> None:
    assert (REASONS[""].text, REASONS[""].advice) == ("", "")


def test_builders_say_how_far_the_outcome_reaches() -> None:
    assert (delivered().kind, delivered().scope) == (Kind.DELIVERED, Scope.ORDER)
    assert (retry("timeout").kind, retry("timeout").scope) == (Kind.RETRY, Scope.CREDENTIAL)
    assert (refused("refused").kind, refused("refused").scope) == (Kind.REFUSED, Scope.ORDER)
    assert (credential_refused("redirect").kind, credential_refused("redirect").scope) == (
        Kind.REFUSED,
        Scope.CREDENTIAL,
    )
    assert (not_sent("order_deleted").kind, not_sent("order_deleted").scope) == (Kind.NOT_SENT, Scope.ORDER)
