"""APCE and the edge scores as metrics of torchmetrics."""

from __future__ import annotations

import inspect
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics import Metric, MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.utilities import plot

from morn_losses.metrics import APCE, EdgeScores, edge_scores

Pairs = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
EITHER = pytest.mark.parametrize("kind", [APCE, EdgeScores])


def square(top: int = 6) -> NDArray[np.float64]:
    image = np.zeros((24, 26))
    image[top : top + 9, 6:15] = 1
    return image


def numbers(value: Any) -> list[float]:
    """What a metric computed, APCE first."""
    return [x.item() for x in (value.values() if isinstance(value, dict) else [value])]


def expected(kind: type[Metric], source: Any, translated: Any, thresholds: int = 99) -> list[float]:
    return list(edge_scores(source, translated, thresholds)[: 3 if kind is EdgeScores else 1])


@EITHER
def test_equals_the_function(kind: type[Metric], pairs: Pairs) -> None:
    metric = kind()
    for source, translated in pairs:
        metric.update(source, translated)
    value = metric.compute()
    assert numbers(value) == pytest.approx(expected(kind, *map(list, zip(*pairs, strict=True))), rel=1e-12)
    for x in value.values() if kind is EdgeScores else [value]:
        assert (x.shape, x.dtype) == ((), torch.float64)


def test_the_scores_have_names() -> None:
    metric = EdgeScores()
    metric.update(square(), square())
    assert metric.compute() == {"apce": 1, "edge_precision": 1, "edge_f1": 1}


@EITHER
def test_batches_may_have_any_size(kind: type[Metric]) -> None:
    source, translated = torch.rand(5, 3, 12, 12), torch.rand(5, 3, 12, 12)
    metric = kind(7)
    metric.update(source[:3], translated[:3])
    metric.update(source[3:], translated[3:])
    assert numbers(metric.compute()) == pytest.approx(expected(kind, source, translated, 7), rel=1e-12)


@EITHER
def test_forward_gives_the_batch_and_reset_forgets(kind: type[Metric], pairs: Pairs) -> None:
    metric = kind(9)
    for pair in pairs[:3]:
        assert numbers(metric(*pair)) == pytest.approx(expected(kind, *pair, 9))
    metric.reset()
    metric.update(*pairs[0])
    assert numbers(metric.compute()) == pytest.approx(expected(kind, *pairs[0], 9))


@EITHER
def test_states_of_processes_are_summed(kind: type[Metric], pairs: Pairs) -> None:
    parts = [kind(9), kind(9)]
    parts[0].update(*pairs[0])
    for pair in pairs[1:]:
        parts[1].update(*pair)
    parts[0].merge_state(parts[1])
    assert numbers(parts[0].compute()) == pytest.approx(expected(kind, *map(list, zip(*pairs, strict=True)), 9))


def test_without_edges_a_value_is_nan() -> None:
    metric = EdgeScores()
    metric.update(np.zeros((24, 26)), square())
    value = metric.compute()
    assert value["apce"].isnan()
    assert value["edge_precision"] == value["edge_f1"] == 0


def test_undefined_thresholds_take_no_part() -> None:
    # the step is strongest in the first row, which holds no edges: none reaches the upper thresholds
    source = np.zeros((12, 30))
    source[:, 15:] = np.linspace(1, 0, 12)[:, None]
    metric = APCE()
    metric.update(source, source)
    assert metric.compute() == 1
    assert (metric.counts == 0).any()


@EITHER
def test_pickles_and_shows_its_options(kind: type[Metric]) -> None:
    metric = kind(thresholds=5)
    metric.update(square(), square(7))
    again = pickle.loads(pickle.dumps(metric))
    assert again.compute() == metric.compute()
    assert repr(metric) == f"{kind.__name__}(thresholds=5)"
    assert metric.higher_is_better


@EITHER
def test_errors_leave_the_states_alone(kind: type[Metric]) -> None:
    metric = kind()
    metric.update(square(), square(7))
    before = metric.counts.clone()
    with pytest.raises(ValueError, match="translated: expected as many"):
        metric.update([square(), square()], [square()])
    torch.testing.assert_close(metric.counts, before)
    with pytest.raises(ValueError, match="thresholds"):
        kind(0)


@EITHER
def test_options_of_torchmetrics_reach_it_and_unknown_ones_do_not_pass(kind: type[Metric]) -> None:
    assert kind(dist_sync_on_step=True).dist_sync_on_step
    assert not kind().dist_sync_on_step
    assert not kind(5, compute_with_cache=False).compute_with_cache
    with pytest.raises(ValueError, match="colour"):
        kind(colour="red")


@EITHER
def test_arguments_of_other_metrics_are_passed_over(kind: type[Metric]) -> None:
    metric = kind(9)
    metric.update(source=square(), translated=square(7), preds=square(7), target=square(8), real=True)
    assert numbers(metric.compute()) == pytest.approx(expected(kind, square(), square(7), 9))
    assert numbers(metric(source=square(), translated=square(8), preds=None)) == pytest.approx(
        expected(kind, square(), square(8), 9)
    )


class TestInACollection:
    """With image metrics, which take (preds, target): a translation and the true day image."""

    night, fake, day = torch.rand(3, 2, 3, 24, 26, generator=torch.Generator().manual_seed(0))

    def collection(self) -> MetricCollection:
        return MetricCollection(
            [
                APCE(),
                EdgeScores(),
                PeakSignalNoiseRatio(data_range=1.0),
                StructuralSimilarityIndexMeasure(data_range=1.0),
            ]
        )

    def test_by_keyword_each_gets_its_own(self) -> None:
        collection = self.collection()
        for part in (slice(0, 1), slice(1, 2)):
            collection.update(
                source=self.night[part], translated=self.fake[part], preds=self.fake[part], target=self.day[part]
            )
        found = collection.compute()
        scores = edge_scores(self.night, self.fake)
        assert found["APCE"].item() == found["apce"].item() == pytest.approx(scores.apce)
        assert found["edge_precision"].item() == pytest.approx(scores.precision)
        assert found["edge_f1"].item() == pytest.approx(scores.f1)
        alone = PeakSignalNoiseRatio(data_range=1.0)
        torch.testing.assert_close(found["PeakSignalNoiseRatio"], alone(self.fake, self.day))
        assert set(found) == {
            *("APCE", "apce", "edge_precision", "edge_f1"),
            *("PeakSignalNoiseRatio", "StructuralSimilarityIndexMeasure"),
        }

    def test_by_position_it_is_refused(self) -> None:
        # PSNR is right with these, and APCE would have compared the true day image with its translation
        for call in (MetricCollection.update, MetricCollection.forward):
            with pytest.raises(TypeError, match=r"APCE in a collection: expected source and translated.*\[\]"):
                call(self.collection(), self.fake, self.day)
            collection = MetricCollection({"edges": EdgeScores(), "again": EdgeScores()})
            with pytest.raises(TypeError, match="EdgeScores in a collection"):
                call(collection, self.night, self.fake)

    def test_without_the_source_it_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"source and translated by keyword.*\['preds', 'target', 'translated'\]"):
            self.collection().update(translated=self.fake, preds=self.fake, target=self.day)

    def test_it_stays_refused_once_metrics_share_their_states(self) -> None:
        collection = MetricCollection({"edges": EdgeScores(9), "again": EdgeScores(9)})
        collection.update(source=self.night, translated=self.fake)
        with pytest.raises(TypeError, match="in a collection"):
            collection.update(self.night, self.fake)

    def test_values_that_are_asked_for_again_are_the_same(self) -> None:
        for order in (1, -1):
            collection = MetricCollection([APCE(9), EdgeScores(9)][::order])
            for _ in range(3):
                collection.update(source=self.night, translated=self.fake)
            first = collection.compute()
            assert collection.compute() == first
            assert sorted(first) == ["APCE", "apce", "edge_f1", "edge_precision"]


class TestPlot:
    @EITHER
    def test_it_hands_torchmetrics_the_current_value_or_those_given(
        self, kind: type[Metric], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown: list[Any] = []
        module = inspect.getmodule(Metric)

        def draw(val: Any, **options: Any) -> tuple[str, str]:
            shown.append((val, options))
            return "figure", "axes"

        monkeypatch.setattr(module, "plot_single_or_multi_val", draw)
        metric = kind()
        metric.update(square(), square(7))
        assert metric.plot() == ("figure", "axes")
        metric.plot([metric.compute()] * 2, ax="axes")
        (first, options), (second, further) = shown
        assert numbers(first) == numbers(metric.compute())
        assert len(second) == 2
        assert (options["lower_bound"], options["upper_bound"], options["name"]) == (0, 1, kind.__name__)
        assert options["ax"] is None
        assert further["ax"] == "axes"

    def test_without_matplotlib_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plot, "_MATPLOTLIB_AVAILABLE", False)
        metric = APCE()
        metric.update(square(), square())
        with pytest.raises(ModuleNotFoundError, match="matplotlib"):
            metric.plot()

    @EITHER
    def test_with_matplotlib_there_is_a_figure(self, kind: type[Metric]) -> None:
        pytest.importorskip("matplotlib").use("Agg")
        metric = kind()
        metric.update(square(), square(7))
        figure, axes = metric.plot()
        assert figure.axes[0] is axes


@pytest.mark.gpu
@EITHER
def test_on_cuda(kind: type[Metric]) -> None:
    source, translated = torch.rand(2, 3, 24, 26), torch.rand(2, 3, 24, 26)
    for metric in (kind(), kind().to("cuda")):  # its states may lie elsewhere than the images
        metric.update(source.cuda(), translated.cuda())
        metric.update(source, translated)
        value = metric.compute()
        assert {x.device.type for x in (value.values() if isinstance(value, dict) else [value])} == {metric.device.type}
        assert numbers(value) == pytest.approx(expected(kind, source, translated))
        assert not math.isnan(numbers(value)[0])
