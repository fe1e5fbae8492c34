from __future__ import annotations

import json
import math

import numpy as np
import pytest

from studies.cards.card import Card, Claim, Table, format_values, share, spread, to_json, to_markdown
from studies.cards.plots import COLORS, beside, line_plot, log_ticks, stack, ticks

NAN = math.nan


def test_spread_is_mean_and_sample_deviation_of_what_is_known() -> None:
    mean, deviation = spread((1.0, 3.0, NAN))
    assert mean == 2
    assert deviation == pytest.approx(math.sqrt(2))
    assert math.isnan(spread((NAN,))[0])
    assert math.isnan(spread((1.0,))[1])
    assert math.isnan(share(1, 0))
    assert share(1, 4) == 0.25


@pytest.mark.parametrize(
    ("margins", "verdict"),
    [
        ((0.1, 2.0), "yes"),
        ((0.1, NAN), "yes"),
        ((0.1, -0.1), "mixed"),
        ((0.1, 0.0), "mixed"),
        ((-0.1, 0.0), "no"),
        ((NAN, NAN), "not measured"),
    ],
)
def test_a_claim_holds_where_its_margin_is_above_zero(margins: tuple[float, ...], verdict: str) -> None:
    assert Claim("it does", margins).verdict() == verdict


def test_values_are_shown_scaled_with_their_spread() -> None:
    assert format_values((0.5, 0.7), 100, 1) == "60.0 ±14.1"
    assert format_values((0.5,), 100, 0) == "50"
    assert format_values((0.5, 0.5), 1, 2, sign=True) == "+0.50 ±0.00"
    assert format_values((NAN, NAN), 1, 2) == "-"


def make_card() -> Card:
    picture = line_plot({"a": ((0.0, 1.0), (0.0, 1.0))}, "x", "y")
    table = Table("speed", ("old", "new"), (("cat", ((1.0, 2.0), (NAN, NAN))),), digits=1)
    claims = (Claim("new is faster", (1.0, -1.0, NAN), "m/s", digits=1), Claim("it ran", (NAN, NAN, NAN), "m"))
    return Card("speed", "Speed", "How it was done.", (table,), claims, picture)


def test_markdown_of_a_card() -> None:
    text = to_markdown(make_card())
    assert "| new is faster | mixed | 1 of 2 | +0.0 ±1.4 m/s |" in text
    assert "| it ran | not measured | 0 of 0 | - |" in text
    assert "| speed | old | new |\n|---|---:|---:|\n| cat | 1.5 ±0.7 | - |" in text


def test_json_of_a_card_holds_every_set_and_no_nan() -> None:
    plain = json.loads(json.dumps(to_json(make_card()), allow_nan=False))
    cell = plain["tables"][0]["rows"]["cat"]
    assert cell["old"] == {"mean": 1.5, "sd": pytest.approx(0.7071, abs=1e-4), "sets": [1.0, 2.0]}
    assert cell["new"] == {"mean": None, "sd": None, "sets": [None, None]}
    assert plain["claims"][0]["verdict"] == "mixed"
    assert plain["claims"][0]["margin"]["sets"] == [1.0, -1.0, None]


def test_lines_run_where_their_values_are() -> None:
    flat = line_plot({"low": ((0, 1), (0, 0)), "high": ((0, 1), (1, 1))}, "x", "y", size=(200, 150))
    pixels = np.array(flat)[:150]
    rows = []
    for color in COLORS[:2]:
        wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        places = np.argwhere((pixels == wanted).all(-1))
        rows.append(places[:, 0].mean())
        assert np.ptp(places[:, 1]) > 100
    assert rows[0] > rows[1] + 50


def test_a_logarithmic_axis_spaces_factors_evenly() -> None:
    plot = line_plot({"a": ((1, 10, 100), (0.0, 1.0, 0.0))}, "x", "y", size=(300, 200), log_x=True)
    wanted = [int(COLORS[0][i : i + 2], 16) for i in (1, 3, 5)]
    places = np.argwhere((np.array(plot)[:200] == wanted).all(-1))
    peak = places[places[:, 0] == places[:, 0].min(), 1].mean()
    middle = (places[:, 1].min() + places[:, 1].max()) / 2
    assert peak == pytest.approx(middle, abs=2)


def test_points_that_are_not_finite_are_left_out() -> None:
    plot = line_plot({"a": ((0, 1, 2), (0.0, NAN, 1.0)), "b": ((0,), (NAN,))}, "x", "y")
    assert plot.height == 300 + 2 * 16
    assert line_plot({"a": ((0,), (NAN,))}, "x", "y").size == (460, 316)


def test_pictures_are_put_together() -> None:
    a, b = line_plot({"a": ((0, 1), (0, 1))}, "x", "y"), line_plot({"b": ((0, 1), (0, 1))}, "x", "y", size=(300, 100))
    assert stack((a, b), gap=5).size == (460, a.height + b.height + 5)
    assert beside((a, b), gap=5).size == (460 + 300 + 5, a.height)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.31, 0.99, [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        (-3.0, 19.0, [0.0, 5.0, 10.0, 15.0]),
        (0.872, 0.953, [0.88, 0.9, 0.92, 0.94]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.014, 0.5, [0.02, 0.05, 0.1, 0.2, 0.5]),
        (1.0, 64.0, [1, 2, 5, 10, 20, 50]),
        (0.02, 90.0, [0.1, 1, 10]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert log_ticks(low, high) == expected
