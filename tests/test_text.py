"""Numbers and tables for people."""

import pytest

from hashbwn_keras.text import aligned, amount, percent, ratio, shortened, size


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 B"), (999, "999 B"), (12345, "12.3 kB"), (46.7e6, "46.7 MB")]
)
def test_sizes_are_readable(count, expected):
    assert size(count) == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(7, "7"), (999.7, "1 k"), (40.6e6, "40.6 M"), (3e9, "3 G")]
)
def test_amounts_are_readable(count, expected):
    assert amount(count) == expected


def test_what_is_not_known_is_a_dash():
    assert (percent(None), ratio(None)) == ("–", "–")
    assert (percent(0.12345), ratio(0.12345)) == ("12.35 %", "0.123")


def test_columns_are_flush_left_and_right_under_a_rule():
    assert aligned([("name", "n"), ("a", "10"), ("longer", "7")], left=1) == [
        "name     n",
        "──────  ──",
        "a       10",
        "longer   7",
    ]


def test_long_names_keep_their_end():
    assert shortened("a" * 30) == "a" * 30
    assert shortened("a" * 30 + "end") == "…" + "a" * 26 + "end"
