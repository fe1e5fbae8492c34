from __future__ import annotations

import pytest

from ntir2dc.config import PhaseOptions, make_config
from ntir2dc.methods.morngan.schedule import PAPER_PHASES, Phase, Schedule


@pytest.mark.parametrize(
    ("preset", "starts"),
    [("flir", (0, 10, 20, 30, 40, 75)), ("kaist", (0, 10, 50, 90, 100, 145))],
)
def test_paper_presets_have_the_published_epochs(preset: str, starts: tuple[int, ...]) -> None:
    config = make_config(preset)
    assert Schedule.from_options(config.phases, config.epochs).starts == starts


def test_epochs_compresses_the_phases() -> None:
    options = make_config("flir").phases
    assert Schedule.from_options(options, 40).starts == (0, 5, 10, 15, 20, 38)
    assert Schedule.from_options(options, 16).starts == (0, 2, 4, 6, 8, 15)


@pytest.mark.parametrize("epochs", range(6, 30))
@pytest.mark.parametrize("preset", ["demo", "mini", "flir", "kaist"])
def test_every_phase_occurs_if_there_are_epochs_enough(preset: str, epochs: int) -> None:
    schedule = Schedule.from_options(make_config(preset).phases, epochs)
    assert {schedule.phase(e) for e in range(epochs)} - {Phase.WARM_UP} == set(PAPER_PHASES)


def test_phases_never_go_back() -> None:
    for epochs in range(1, 12):
        schedule = Schedule.from_options(PhaseOptions(), epochs)
        phases = [schedule.phase(e) for e in range(epochs)]
        assert phases == sorted(phases)


def test_a_start_from_one_on_is_an_epoch() -> None:
    options = PhaseOptions(structure=1, segment_a=2, segment_b=3, distill=5, collaborate=100)
    schedule = Schedule.from_options(options, 8)
    assert [int(schedule.phase(e)) for e in range(8)] == [1, 2, 3, 4, 4, 5, 5, 5]
    assert "distill 5-7" in schedule.describe()
    assert "collaborate none" in schedule.describe()


def test_a_run_with_trained_segmenters_may_begin_in_distill() -> None:
    options = PhaseOptions(structure=0, segment_a=0, segment_b=0, distill=0, collaborate=5)
    schedule = Schedule.from_options(options, 10)
    assert [int(schedule.phase(e)) for e in range(10)] == [5] * 5 + [6] * 5


def test_wrong_orders_are_refused() -> None:
    with pytest.raises(ValueError, match=r"phases\.segment_b"):
        Schedule.from_options(PhaseOptions(segment_a=0.5, segment_b=0.4), 80)
    with pytest.raises(ValueError, match=r"phases\.structure"):
        Schedule.from_options(PhaseOptions(structure=-0.1), 80)
