from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as ReferenceKMeans
from torch import Tensor

from helpers.loss_contract import LossContract
from morn_losses import _lloyd
from morn_losses.losses.aca import ACALoss, ACATerms, aca_loss


def by_loops(
    real: np.ndarray,
    fake: np.ndarray,
    labels_real: np.ndarray,
    labels_fake: np.ndarray,
    classes: list[tuple[int, ...]],
    init: np.ndarray,
    phi: tuple[float, float] = (0.9, 0.9),
    average: str = "all",
    min_positions: int | None = None,
) -> tuple[float, list[list[float]]]:
    """Eq. 12-17 for one sample, ``(C, h, w)`` and ``(h, w)``; also Eq. 14-16 of every class."""

    def extract(features: np.ndarray, labels: np.ndarray, ids: tuple[int, ...]) -> list[np.ndarray]:
        columns = [features[:, i, j] for i, j in np.ndindex(*labels.shape) if labels[i, j] in ids]
        return [c for c in columns if np.abs(c).sum() != 0]

    def responses(centroids: np.ndarray, columns: list[np.ndarray]) -> tuple[float, float]:
        y = [[float(u @ f / (math.sqrt(u @ u) * math.sqrt(f @ f))) for f in columns] for u in centroids]
        mu = sum(max(y[k][n] for k in range(len(y))) for n in range(len(columns))) / len(columns)
        tau = sum(max(row) for row in y) / len(y)
        return mu, tau

    needed = init.shape[1] if min_positions is None else min_positions
    found = []
    for c, ids in enumerate(classes):
        in_real, in_fake = extract(real, labels_real, ids), extract(fake, labels_fake, ids)
        if min(len(in_real), len(in_fake)) < needed:
            continue
        model = ReferenceKMeans(init.shape[1], init=init[c], n_init=1, max_iter=100, tol=1e-4).fit(np.array(in_real))
        mu_real, tau_real = responses(model.cluster_centers_, in_real)
        mu_fake, tau_fake = responses(model.cluster_centers_, in_fake)
        loss = max(phi[0] * mu_real - mu_fake, 0) + max(phi[1] * tau_real - tau_fake, 0)
        found.append([loss, mu_real, mu_fake, tau_real, tau_fake])
    number = len(classes) if average == "all" else max(len(found), 1)
    return sum(f[0] for f in found) / number, found


def scene(batch: int, dtype: torch.dtype = torch.float64, C: int = 5, h: int = 8, w: int = 9) -> tuple[Tensor, ...]:
    """Features whose real side is bundled by class, and labels 0..4 in both."""
    labels_real, labels_fake = torch.randint(0, 5, (2, batch, h, w))
    bundles = torch.randn(5, C, dtype=dtype)
    real = bundles[labels_real].movedim(3, 1) + 0.4 * torch.randn(batch, C, h, w, dtype=dtype)
    return real, torch.randn(batch, C, h, w, dtype=dtype), labels_real, labels_fake


def starts(real: Tensor, labels: Tensor, classes: list[tuple[int, ...]], n_clusters: int) -> Tensor:
    """The first features of each class in each sample."""
    out = torch.randn(len(real), len(classes), n_clusters, real.shape[1], dtype=real.dtype)
    for b in range(len(real)):
        for c, ids in enumerate(classes):
            columns = real[b][:, sum(labels[b] == i for i in ids).bool()]
            columns = columns[:, (columns != 0).any(0)].T[:n_clusters]
            out[b, c, : len(columns)] = columns
    return out


class TestContract(LossContract):
    function = staticmethod(aca_loss)
    # one cluster is found from any start, so that a sample's value does not depend on the draws of the others
    options = {"classes": (1, 3, 4), "n_clusters": 1}
    module = ACALoss((1, 3, 4), n_clusters=1)
    differentiable = (1,)
    compiles = False
    maps = False

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        return scene(batch, dtype, h=4, w=5)


@pytest.mark.parametrize("average", ["all", "present"])
@pytest.mark.parametrize(("phi_local", "phi_global"), [(0.9, 0.9), (1.0, 0.3), (0.0, 1.2)])
@pytest.mark.parametrize("n_clusters", [1, 4])
def test_equals_the_equations_written_with_loops(
    average: Any, phi_local: float, phi_global: float, n_clusters: int
) -> None:
    classes: list[tuple[int, ...]] = [(1,), (2, 4), (7,), (0,)]
    real, fake, labels_real, labels_fake = scene(4)
    fake[0] = real[0] * 2 + 0.3 * torch.randn_like(real[0])
    labels_fake[1][labels_fake[1] == 1] = 3
    labels_real[2] = 3
    real[3, :, :2], fake[3, :, 3:] = 0, 0
    init = starts(real, labels_real, classes, n_clusters)
    loss, terms = aca_loss(
        real, fake, labels_real, labels_fake, [1, (2, 4), 7, 0], n_clusters=n_clusters, phi_local=phi_local,
        phi_global=phi_global, init=init, average=average, reduction="none", return_terms=True
    )  # fmt: skip
    for b in range(4):
        expected, found = by_loops(
            real[b].numpy(), fake[b].numpy(), labels_real[b].numpy(), labels_fake[b].numpy(), classes,
            init[b].numpy(), (phi_local, phi_global), average
        )  # fmt: skip
        assert loss[b].item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
        got = torch.stack([t[b][terms.present[b]] for t in terms[:5]], 1)
        np.testing.assert_allclose(got.numpy(), np.array(found).reshape(-1, 5), rtol=1e-9, atol=1e-12)
    assert terms.present.sum(1).tolist()[:3] == [3, 2, 0]
    assert loss[2] == 0
    assert loss[1] > 0


def test_value_by_hand() -> None:
    # parts along the two axes in the real image; the fake has (0.6, 0.8) twice and (1, 0) once
    real = torch.tensor([[3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 5.0]], dtype=torch.float64).view(1, 2, 1, 4)
    fake = torch.tensor([[0.6, 6.0, 1.0, 9.0], [0.8, 8.0, 0.0, 9.0]], dtype=torch.float64).view(1, 2, 1, 4)
    labels_real = torch.tensor([[[11, 11, 11, 11]]])
    labels_fake = torch.tensor([[[11, 11, 11, 255]]])
    init = torch.eye(2, dtype=torch.float64).view(1, 1, 2, 2)
    loss, terms = aca_loss(
        real, fake, labels_real, labels_fake, [11], n_clusters=2, init=init, phi_local=1, return_terms=True
    )
    assert terms.mu_real.item() == terms.tau_real.item() == 1
    assert terms.mu_fake.item() == pytest.approx((0.8 + 0.8 + 1) / 3)
    assert terms.tau_fake.item() == pytest.approx((1 + 0.8) / 2)
    assert loss.item() == pytest.approx(1 - 2.6 / 3)  # and 0.9 * 1 - 0.9 = 0


def test_local_and_global_terms_have_their_own_threshold() -> None:
    """Eq. 16: both terms by hand."""
    x = scene(1)
    options: dict[str, Any] = {"n_clusters": 2, "init": starts(x[0], x[2], [(1,)], 2), "return_terms": True}
    _, terms = aca_loss(*x, [1], **options)
    mu_real, mu_fake, tau_real, tau_fake = (t.item() for t in terms[1:5])
    assert mu_real != pytest.approx(tau_real)
    for local, phi_global in ((2.0, 0.0), (0.0, 2.0), (2.0, 3.0)):
        expected = max(local * mu_real - mu_fake, 0) + max(phi_global * tau_real - tau_fake, 0)
        assert expected > 0.1
        loss, _ = aca_loss(*x, [1], phi_local=local, phi_global=phi_global, **options)
        assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("phi", [0.9, 1.0])
def test_identical_features_cost_nothing(phi: float) -> None:
    real, _, labels, _ = scene(3, torch.float32)
    loss, terms = aca_loss(real, real, labels, labels, [0, 1, 2], phi_local=phi, phi_global=phi, return_terms=True)
    assert loss.item() == 0
    assert terms.present.all()
    assert (terms.mu_real > 0.5).all()
    assert aca_loss(real, -real, labels, labels, [0, 1, 2]).item() > 1


def test_only_directions_count() -> None:
    real, fake, labels_real, labels_fake = scene(2)
    init = starts(real, labels_real, [(1,), (2,)], 3)
    expected = aca_loss(real, fake, labels_real, labels_fake, [1, 2], n_clusters=3, init=init)
    lengths = torch.rand(2, 1, 8, 9, dtype=torch.float64) + 0.1
    for scaled in (fake * lengths, fake * 1e-200, fake * 1e200):
        torch.testing.assert_close(
            aca_loss(real, scaled, labels_real, labels_fake, [1, 2], n_clusters=3, init=init), expected
        )


def test_all_and_present_divide_by_their_number_of_classes() -> None:
    """Eq. 17: the mean over the small-sample classes."""
    real, fake, labels_real, labels_fake = scene(1)
    init = starts(real, labels_real, [(1,), (8,), (9,)], 2)
    alone = aca_loss(real, fake, labels_real, labels_fake, [1], n_clusters=2, init=init[:, :1])
    options: dict[str, Any] = {"n_clusters": 2, "init": init}
    mean_of_all = aca_loss(real, fake, labels_real, labels_fake, [1, 8, 9], **options)
    mean_of_present = aca_loss(real, fake, labels_real, labels_fake, [1, 8, 9], average="present", **options)
    assert alone.item() > 0
    assert mean_of_all.item() == pytest.approx(alone.item() / 3)
    assert mean_of_present.item() == pytest.approx(alone.item())


def test_a_tuple_merges_classes() -> None:
    real, fake, labels_real, labels_fake = scene(2)
    init = starts(real, labels_real, [(1, 3), (2,)], 3)
    merged = aca_loss(real, fake, labels_real, labels_fake, [(1, 3), 2], n_clusters=3, init=init)
    relabeled = [torch.where(x == 3, 1, x) for x in (labels_real, labels_fake)]
    torch.testing.assert_close(aca_loss(real, fake, *relabeled, [1, 2], n_clusters=3, init=init), merged)
    apart = aca_loss(real, fake, labels_real, labels_fake, [1, 2], n_clusters=3, init=init)
    assert apart.item() != pytest.approx(merged.item())
    # 13 and 3 are two ids, and classes may overlap
    _, terms = aca_loss(real, fake, labels_real, labels_fake, [(1, 3), (1, 3, 13), 1], return_terms=True)
    assert terms.present.all()
    thirteen = aca_loss(real, fake, labels_real, labels_fake, [(1, 13), 2], n_clusters=3, init=init)
    torch.testing.assert_close(thirteen, apart)


def test_ids_are_taken_as_they_are() -> None:
    real, fake, labels_real, labels_fake = scene(1)
    one = aca_loss(real, fake, labels_real, labels_fake, [2], n_clusters=1)
    two = aca_loss(real, fake, labels_real + 1, labels_fake + 1, [3], n_clusters=1)
    assert one.item() == two.item() > 0
    assert aca_loss(real, fake, labels_real + 1, labels_fake + 1, [2], n_clusters=1).item() != one.item()
    # an id that nobody asked for is ignored
    strange = torch.where(labels_real == 0, 255, torch.where(labels_real == 1, -7, labels_real))
    assert aca_loss(real, fake, strange, labels_fake, [2], n_clusters=1).item() == one.item()


def test_a_class_is_present_from_min_positions_in_both_images() -> None:
    real, fake = torch.randn(2, 1, 3, 1, 12)
    labels = [torch.full((1, 1, 12), 255) for _ in range(2)]

    def present(n_real: int, n_fake: int, **options: Any) -> bool:
        for image, n in zip(labels, (n_real, n_fake), strict=True):
            image.fill_(255)
            image[..., :n] = 6
        _, terms = aca_loss(real, fake, *labels, [6], return_terms=True, **options)
        return bool(terms.present.item())

    assert [present(4, 4), present(3, 9), present(9, 3)] == [True, False, False]  # as many as clusters
    assert [present(2, 2, n_clusters=2), present(1, 2, n_clusters=2)] == [True, False]
    assert [present(7, 7, min_positions=7), present(6, 9, min_positions=7)] == [True, False]
    assert present(1, 1, min_positions=1)
    # a position of zero features does not count
    real[..., 0] = 0
    assert [present(4, 9), present(5, 9)] == [False, True]
    fake[..., :2] = 0
    assert [present(9, 5), present(9, 6)] == [False, True]


def test_zero_features_are_dropped_on_both_sides() -> None:
    """Eq. 12: what the mapping E removes."""
    real, fake, labels_real, labels_fake = scene(1)
    init = starts(real, labels_real, [(1,)], 3)
    expected = aca_loss(real, fake, labels_real, labels_fake, [1], n_clusters=3, init=init, phi_global=2)
    padded = [torch.cat([x, torch.zeros(1, 5, 8, 2, dtype=torch.float64)], 3) for x in (real, fake)]
    more = [torch.cat([x, torch.ones(1, 8, 2, dtype=torch.int64)], 2) for x in (labels_real, labels_fake)]
    torch.testing.assert_close(aca_loss(*padded, *more, [1], n_clusters=3, init=init, phi_global=2), expected)


def test_a_negative_response_counts_for_tau_as_it_is() -> None:
    """Eq. 15: the largest response may be negative."""
    # published code takes the maximum over zero rows too, and never goes below 0
    real = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 4)
    labels = torch.tensor([[[1, 1, 1, 0]]])
    _, terms = aca_loss(real, -real, labels, labels, [1], n_clusters=1, return_terms=True)
    assert terms.tau_fake.item() == terms.mu_fake.item() == -1
    assert terms.loss.item() == pytest.approx(2 * (0.9 + 1))


def test_empty_clusters_take_no_part_in_tau() -> None:
    """Eq. 15: by hand."""
    # two distinct features for four clusters
    real = torch.tensor([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64).view(1, 2, 1, 4)
    fake = torch.tensor([[1.0, 1.0, 1.0, 0.6], [0.0, 0.0, 0.0, 0.8]], dtype=torch.float64).view(1, 2, 1, 4)
    labels = torch.ones(1, 1, 4, dtype=torch.int64)
    for init in ("k-means++", "random", torch.eye(2, dtype=torch.float64)[torch.tensor([0, 1, 0, 0])][None, None]):
        _, terms = aca_loss(real, fake, labels, labels, [1], init=init, return_terms=True)
        assert terms.tau_fake.item() == pytest.approx((1 + 0.8) / 2)
        assert terms.mu_fake.item() == pytest.approx((1 + 1 + 1 + 0.8) / 4)
        assert terms.tau_real.item() == pytest.approx(1)


@pytest.mark.parametrize(("H", "W"), [(16, 18), (20, 13), (4, 3)])
def test_labels_are_resized_by_nearest(H: int, W: int) -> None:
    real, fake, *_ = scene(2)
    labels = torch.randint(0, 5, (2, H, W))
    rows = torch.tensor([math.floor(i * H / 8) for i in range(8)])
    columns = torch.tensor([math.floor(j * W / 9) for j in range(9)])
    small = labels[:, rows][:, :, columns]
    init = starts(real, small, [(1,), (2,)], 2)
    for large_real, large_fake in ((labels, small), (small, labels), (labels, labels)):
        torch.testing.assert_close(
            aca_loss(real, fake, large_real, large_fake, [1, 2], n_clusters=2, init=init),
            aca_loss(real, fake, small, small, [1, 2], n_clusters=2, init=init),
        )


def test_cosine_metric_clusters_by_direction() -> None:
    # lengths 1 and 9 along two directions: Euclidean k-means parts the lengths, spherical the directions
    real = torch.tensor([[1.0, 9.0, 0.6, 5.4], [0.0, 0.0, 0.8, 7.2]], dtype=torch.float64).view(1, 2, 1, 4)
    labels = torch.ones(1, 1, 4, dtype=torch.int64)
    init = real[0, :, 0, [0, 2]].T[None, None]
    for metric, expected in (("cosine", 1.0), ("euclidean", (0.8944 + 0.8944) / 2)):
        options: dict[str, Any] = {"n_clusters": 2, "metric": metric, "init": init, "return_terms": True}
        if metric == "euclidean":
            options["init"] = real[0, :, 0, :2].T[None, None]
        _, terms = aca_loss(real, real, labels, labels, [1], **options)
        assert terms.mu_real.item() == pytest.approx(expected, abs=1e-4)


def test_a_sample_does_not_depend_on_the_others_from_the_same_centers() -> None:
    x = scene(4)
    init = starts(x[0], x[2], [(1,), (2,)], 4)
    whole = aca_loss(*x, [1, 2], init=init, reduction="none")
    assert len(set(whole.tolist())) == 4
    for b in range(4):
        one = aca_loss(*(t[b : b + 1] for t in x), [1, 2], init=init[b : b + 1], reduction="none")
        torch.testing.assert_close(one[0], whole[b])


def test_gradcheck_with_several_clusters() -> None:
    real, fake, labels_real, labels_fake = scene(2, h=4, w=5)
    classes = [0, (1, 2), 3]
    init = starts(real, labels_real, [(0,), (1, 2), (3,)], 2)
    labels_fake[0][labels_fake[0] == 3] = 4
    fake[1, :, 0] = 0
    fixed = fake.clone()

    def loss(x: Tensor) -> Any:
        # the zero vectors are held at zero: a position that leaves it changes the set of Eq. 12
        x = torch.where(fixed == 0, 0, x)
        return aca_loss(real, x, labels_real, labels_fake, classes, n_clusters=2, init=init, reduction="none")

    assert torch.autograd.gradcheck(loss, fake.requires_grad_())


def test_real_features_carry_no_grad() -> None:
    real, fake, *labels = scene(1, torch.float32)
    real.requires_grad_()
    fake.requires_grad_()
    loss, terms = aca_loss(real, fake, *labels, [1, 2], return_terms=True)
    loss.backward()
    assert real.grad is None
    assert not terms.mu_real.requires_grad
    assert not terms.tau_real.requires_grad
    assert terms.mu_fake.requires_grad
    assert terms.tau_fake.requires_grad
    # nor where both are the same tensor
    options: dict[str, Any] = {"n_clusters": 2, "init": starts(real.detach(), labels[0], [(1,)], 2), "phi_local": 2.0}
    gradients = []
    for same in (True, False):
        features = real.detach().clone().requires_grad_()
        aca_loss(features if same else real.detach(), features, *labels, [1], **options).backward()  # type: ignore[union-attr]
        gradients.append(features.grad)
    assert gradients[0] is not None
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[0], gradients[1])


def test_gradient_descent_turns_the_fake_towards_the_centroids() -> None:
    real, fake, labels_real, labels_fake = scene(2)
    init = starts(real, labels_real, [(1,), (2,)], 3)
    fake.requires_grad_()
    optimizer = torch.optim.Adam([fake], lr=0.05)
    history = []
    for _ in range(60):
        loss, terms = aca_loss(real, fake, labels_real, labels_fake, [1, 2], n_clusters=3, init=init, return_terms=True)
        history.append((loss.item(), terms.mu_fake.mean().item(), terms.tau_fake.mean().item()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert history[0][0] > 0.3
    assert history[-1][0] < 0.01
    assert history[-1][1] > history[0][1] + 0.2
    # positions of other classes stay where they are
    others = (labels_fake != 1) & (labels_fake != 2)
    assert fake.grad is not None
    assert fake.grad.movedim(1, 3)[others].abs().max() == 0


@pytest.mark.parametrize("case", ["none of it", "too few in real", "too few in fake", "zero features"])
@pytest.mark.parametrize("average", ["all", "present"])
def test_absent_is_an_exact_zero_with_a_graph(case: str, average: Any) -> None:
    real, fake, labels_real, labels_fake = scene(2, torch.float32)
    if case == "none of it":
        labels_real[0], labels_fake[0] = 0, 0
    elif case == "too few in real":
        labels_real[0] = 0
        labels_real[0, 0, :3] = 1
    elif case == "too few in fake":
        labels_fake[0] = 0
        labels_fake[0, 0, :3] = 1
    else:
        fake[0] = 0
    fake.requires_grad_()
    value, terms = aca_loss(
        real, fake, labels_real, labels_fake, [1], average=average, reduction="none", return_terms=True
    )
    value.sum().backward()
    assert value[0].item() == 0
    assert value[1].item() > 0
    assert all(t[0].item() == 0 for t in terms)
    assert fake.grad is not None
    assert fake.grad[0].abs().max() == 0
    assert fake.grad.isfinite().all()
    assert fake.grad[1].abs().max() > 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_positions_of_no_present_class_do_not_leak(bad: float) -> None:
    real, fake, labels_real, labels_fake = scene(2, torch.float32)
    labels_real[0, 0, :4] = 9  # present in the real image only
    init = starts(real, labels_real, [(1,), (2,), (9,)], 3)
    options: dict[str, Any] = {"n_clusters": 3, "init": init, "phi_local": 1.5}
    clean = aca_loss(real, fake, labels_real, labels_fake, [1, 2, 9], **options)
    for image, labels in ((real, labels_real), (fake, labels_fake)):
        image.movedim(1, 3)[(labels != 1) & (labels != 2)] = bad
    fake.requires_grad_()
    value = aca_loss(real, fake, labels_real, labels_fake, [1, 2, 9], **options)
    value.backward()
    assert value.item() == clean.item()
    assert fake.grad is not None
    assert fake.grad.isfinite().all()
    assert fake.grad.abs().max() > 0


def test_a_non_finite_position_of_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake, labels_real, labels_fake = scene(2, torch.float32)
    init = starts(real, labels_real, [(1,), (2,)], 3)
    options: dict[str, Any] = {"n_clusters": 3, "init": init, "reduction": "none"}
    clean = aca_loss(real, fake, labels_real, labels_fake, [1, 2], **options)
    real.movedim(1, 3)[0][labels_real[0] == 1] = math.nan
    with pytest.raises(ValueError, match="features_real: expected finite values"):
        aca_loss(real, fake, labels_real, labels_fake, [1, 2], **options)
    monkeypatch.setattr(_lloyd.common, "on_host", lambda x: False)
    value = aca_loss(real, fake, labels_real, labels_fake, [1, 2], **options)
    assert value[0].isnan()
    torch.testing.assert_close(value[1], clean[1])


@pytest.mark.parametrize("bad", [0.0, math.nan])
def test_the_path_of_other_devices_gives_the_same(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake, labels_real, labels_fake = scene(3)
    init = starts(real, labels_real, [(1,), (2,)], 3)
    labels_fake[1] = 9  # no class at all in one image
    real.movedim(1, 3)[(labels_real != 1) & (labels_real != 2)] = bad
    fake = fake.detach()
    fake.movedim(1, 3)[(labels_fake != 1) & (labels_fake != 2)] = bad
    found = []
    for on_host in (True, False):
        monkeypatch.setattr(_lloyd.common, "on_host", lambda x, on_host=on_host: on_host)
        x = fake.clone().requires_grad_()
        value = aca_loss(real, x, labels_real, labels_fake, [1, 2], n_clusters=3, init=init, reduction="none")
        assert isinstance(value, Tensor)
        value.sum().backward()
        assert x.grad is not None
        found.append((value.detach(), x.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)
    assert found[0][0][1] == 0
    assert found[0][1].isfinite().all()


def test_terms_have_one_value_for_each_sample_and_class() -> None:
    x = scene(3, torch.float32)
    torch.manual_seed(1)
    loss, terms = aca_loss(*x, [0, (1, 2), 7], return_terms=True, reduction="none")
    assert isinstance(terms, ACATerms)
    assert all(t.shape == (3, 3) for t in terms)
    assert terms.present.dtype == torch.bool
    assert terms.present.tolist() == [[True, True, False]] * 3
    torch.testing.assert_close(loss, terms.loss.sum(1) / 3)
    torch.manual_seed(1)
    torch.testing.assert_close(aca_loss(*x, [0, (1, 2), 7], reduction="none"), loss)


def test_the_images_may_differ_in_precision() -> None:
    real, fake, *labels = scene(2)
    init = starts(real, labels[0], [(1,), (2,)], 2)
    expected = aca_loss(real, fake, *labels, [1, 2], n_clusters=2, init=init)
    for of_real, of_fake in ((torch.float32, torch.float64), (torch.float64, torch.float32)):
        value = aca_loss(real.to(of_real), fake.to(of_fake), *labels, [1, 2], n_clusters=2, init=init)
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5, check_dtype=False)


def test_same_seed_same_value() -> None:
    x = scene(2)
    values = [aca_loss(*x, [0, 1, 2], generator=torch.Generator().manual_seed(s)).item() for s in (1, 1, 2, 3)]  # type: ignore[union-attr]
    assert values[0] == values[1]
    assert len(set(values)) > 1
    state = torch.get_rng_state()
    aca_loss(*x, [0, 1, 2], generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_options_of_k_means_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[_lloyd.Options] = []

    def spy(points: Tensor, masks: Tensor, options: _lloyd.Options) -> Any:
        seen.append(options)
        return _lloyd.cluster(points, masks, options)

    monkeypatch.setattr("morn_losses.losses.aca.cluster", spy)
    x = scene(1)
    generator = torch.Generator()
    module = ACALoss([1, 2], n_clusters=3, metric="cosine", init="random", max_iter=7, tol=0.1, n_init=2)
    module(*x, generator=generator)
    assert seen == [_lloyd.Options(3, "cosine", "random", 2, 7, 0.1, generator, "features_real")]


def test_module_holds_every_option() -> None:
    x = scene(2)
    options: dict[str, Any] = {
        "n_clusters": 2, "phi_local": 1.1, "phi_global": 1.3, "metric": "cosine", "init": "random",
        "average": "present", "min_positions": 3, "max_iter": 5, "tol": 0.01, "n_init": 2, "reduction": "none",
        "return_terms": True,
    }  # fmt: skip
    module = ACALoss([1, (2, 8), 9], **options)
    loss, terms = module(*x, generator=torch.Generator().manual_seed(1))
    expected, others = aca_loss(*x, [1, (2, 8), 9], generator=torch.Generator().manual_seed(1), **options)
    assert torch.equal(loss, expected)
    assert torch.equal(terms.tau_fake, others.tau_fake)
    for name, value in options.items():
        assert f"{name}={value!r}" in repr(module)
    assert "[1, (2, 8), 9]" in repr(module)
    # starting centers move with the module and stay out of its state
    init = starts(x[0], x[2], [(1,)], 2)
    module = ACALoss([1], n_clusters=2, init=init.float())
    assert not module.state_dict()
    assert module.double().init.dtype == torch.float64
    assert "init=centers (1, 1, 2, 5)" in repr(ACALoss([1], n_clusters=2, init=init[:1]))
    with pytest.raises(ValueError, match="init"):
        ACALoss([1], n_clusters=3, init=init)(*x)


def test_errors_name_the_argument() -> None:
    real, fake, labels_real, labels_fake = scene(2)
    with pytest.raises(TypeError, match="features_real: expected a floating-point dtype"):
        aca_loss(real.long(), fake, labels_real, labels_fake, [1])
    with pytest.raises(ValueError, match=r"features_fake: expected the shape of features_real = \(2, 5, 8, 9\)"):
        aca_loss(real, fake[..., :-1], labels_real, labels_fake, [1])
    with pytest.raises(ValueError, match=r"labels_fake: expected \(B, H, W\) = \(2, 8, 9\), got \(1, 8, 9\)"):
        aca_loss(real, fake, labels_real, labels_fake[:1], [1])
    with pytest.raises(TypeError, match="labels_real: expected an integer dtype, got torch.float32"):
        aca_loss(real, fake, labels_real.float(), labels_fake, [1])
    for classes, error in (([], ValueError), ([()], ValueError), ([-1], ValueError), ([1.0], TypeError),
                           ([True], TypeError), ("1", TypeError), (1, TypeError), ([(1, "2")], TypeError),
                           ([1, 1], ValueError), ([(1, 2), (2, 1)], ValueError)):  # fmt: skip
        with pytest.raises(error, match="classes: expected"):
            aca_loss(real, fake, labels_real, labels_fake, classes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"init: expected \(B, n_classes, n_clusters, C\) = \(2, 1, 4, 5\)"):
        aca_loss(real, fake, labels_real, labels_fake, [1], init=torch.randn(2, 4, 5))
    bad: dict[str, Any] = {
        "n_clusters": 0, "phi_local": -0.1, "phi_global": -0.1, "metric": "l2", "init": "first", "average": "none",
        "min_positions": 0, "max_iter": 0, "tol": -1.0, "n_init": 0, "reduction": "median",
    }  # fmt: skip
    for name, value in bad.items():
        with pytest.raises(ValueError, match=f"{name}: expected"):
            aca_loss(real, fake, labels_real, labels_fake, [1], **{name: value})
    for name in ("generator", "return_terms"):
        with pytest.raises(TypeError, match=f"{name}: expected"):
            aca_loss(real, fake, labels_real, labels_fake, [1], **{name: 1})
