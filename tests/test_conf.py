"""The one setting, ``OPTICO_SYNC``."""

from __future__ import annotations

import ipaddress
from dataclasses import fields
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from optico_sync import conf
from optico_sync.conf import Options

DEFAULTS = Options()


def given(**values: Any) -> Any:
    return override_settings(OPTICO_SYNC=values)


def test_an_absent_setting_means_the_defaults() -> None:
    # Inside an override: deleting alone is announced to nobody, and the next test would read the defaults too.
    with given():
        del settings.OPTICO_SYNC
        assert (conf.options(), conf.problems()) == (DEFAULTS, ())


def test_an_empty_setting_means_the_defaults() -> None:
    with given():
        assert (conf.options(), conf.problems()) == (DEFAULTS, ())


def test_every_option_has_a_reader() -> None:
    assert {field.name for field in fields(Options)} == conf._READERS.keys()


@pytest.mark.parametrize("name", sorted(conf._READERS))
def test_every_default_is_a_value_that_can_be_given(name: str) -> None:
    default = getattr(DEFAULTS, name)
    with given(**{name: default}):
        assert (getattr(conf.options(), name), conf.problems()) == (default, ())


def test_values_are_read() -> None:
    with given(
        ENABLED=False,
        QUIET_PERIOD=0,
        BATCH_SIZE=7,
        ALLOWED_NETWORKS=["10.0.0.0/8", "::1/128"],
        VISIT_COOKIES=["visit"],
    ):
        options = conf.options()
        assert conf.problems() == ()
    assert (options.ENABLED, options.QUIET_PERIOD, options.BATCH_SIZE) == (False, 0.0, 7)
    assert (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")) == options.ALLOWED_NETWORKS
    assert options.VISIT_COOKIES == ("visit",)


WRONG = [
    ("ENABLED", "yes"),
    ("ENABLED", 1),
    ("SHOP", None),
    ("SHOP", dict),
    ("ORDER", "oddshop.Purchase"),
    ("ORDER", {1: "x"}),
    ("ENCRYPTION_KEYS", "one-key"),
    ("ENCRYPTION_KEYS", [b"bytes"]),
    ("ENCRYPTION_KEYS", None),
    ("QUIET_PERIOD", -1),
    ("QUIET_PERIOD", "5"),
    ("QUIET_PERIOD", True),
    ("QUIET_PERIOD", float("nan")),
    ("QUIET_PERIOD", float("inf")),
    ("ALLOWED_NETWORKS", "127.0.0.0/8"),
    ("ALLOWED_NETWORKS", ["127.0.0.1/8"]),
    ("ALLOWED_NETWORKS", ["localhost"]),
    ("ALLOWED_NETWORKS", [8]),
    ("VISIT_COOKIES", "optico_visitId"),
    ("VENDORS", ["optico"]),
    ("VENDORS", {"mine": 7}),
    ("BATCH_SIZE", 0),
    ("BATCH_SIZE", 1001),
    ("BATCH_SIZE", 10.5),
    ("BATCH_SIZE", True),
    ("LEASE", 5),
    ("LEASE", None),
    ("POLL_INTERVAL", 0),
    ("POLL_INTERVAL", 1e9),
    ("CA_BUNDLE", 5),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_counts_as_the_default_and_is_named_with_a_cure(name: str, value: Any) -> None:
    with given(**{name: value}):
        options, (problem,) = conf.options(), conf.problems()
    assert options == DEFAULTS
    assert (problem.setting, problem.unknown) == (name, False)
    assert f"OPTICO_SYNC['{name}'] must be " in problem.message
    assert problem.hint == f"Correct it; until then {getattr(DEFAULTS, name)!r} is used."


def test_a_wrong_value_leaves_the_others_in_force() -> None:
    with given(LEASE=-1, POLL_INTERVAL=2):
        assert conf.options().POLL_INTERVAL == 2


@pytest.mark.parametrize("value", ["text", 7, None, ["ORDER"]])
def test_a_setting_that_is_no_dict_means_the_defaults(value: Any) -> None:
    with override_settings(OPTICO_SYNC=value):
        options, (problem,) = conf.options(), conf.problems()
    assert options == DEFAULTS
    assert "must be a dict" in problem.message


def test_an_unknown_key_is_named_with_the_nearest() -> None:
    with given(QUIET_PERIODE=3):
        (problem,) = conf.problems()
    assert problem.unknown and "QUIET_PERIODE" in problem.message
    assert problem.hint == "Did you mean 'QUIET_PERIOD'?"


@pytest.mark.parametrize("name", ["XYZZY", 5])
def test_an_unknown_key_like_none_lists_all(name: Any) -> None:
    with override_settings(OPTICO_SYNC={name: 1}):
        (problem,) = conf.problems()
    assert "API_THROTTLES, BATCH_SIZE" in problem.hint


def test_override_settings_is_honoured_and_undone() -> None:
    before = conf.options()
    with given(BATCH_SIZE=3):
        assert conf.options().BATCH_SIZE == 3
        with given(BATCH_SIZE=4):
            assert conf.options().BATCH_SIZE == 4
        assert conf.options().BATCH_SIZE == 3
    assert conf.options() == before


def test_repr_shows_no_key() -> None:
    with given(ENCRYPTION_KEYS=["top-secret-key"]):
        assert "top-secret-key" not in repr(conf.options())


def test_a_wrong_key_list_is_not_quoted() -> None:
    with given(ENCRYPTION_KEYS="top-secret-key"):
        assert "top-secret-key" not in repr(conf.problems())
