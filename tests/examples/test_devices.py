"""Several processes train as one, and end as one."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from drills.devices_equal import compare, in_processes, largest_difference, make_data, same_anyhow, states, translated
from helpers.tiny_run import TINY, method_of, quiet, start, wait_for_rows
from morn_losses import CITYSCAPES
from ntir2dc.data.folders import TrainingData
from ntir2dc.data.pairing import PairedCrops
from ntir2dc.methods.morngan.schedule import PAPER_PHASES
from ntir2dc.parallel.microbatches import Microbatches
from ntir2dc.parallel.world import World
from ntir2dc.run.checkpoint import list_checkpoints
from ntir2dc.run.faults import RunError
from ntir2dc.run.log import read_log
from ntir2dc.trainer import Trainer
from train_morngan import main

LIGHT = CITYSCAPES.index("traffic light")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return make_data(tmp_path_factory.mktemp("devices"))


def assert_same_log(one: Path, two: Path) -> None:
    rows = [read_log(out / "log.csv") for out in (one, two)]
    assert [r["step"] for r in rows[0]] == [r["step"] for r in rows[1]]
    for a, b in zip(*rows, strict=True):
        for name in a.keys() - {"seconds"}:
            assert (a[name] == "") == (b[name] == ""), (a["step"], name)
            if a[name]:
                assert float(b[name]) == pytest.approx(float(a[name]), rel=1e-6, abs=1e-9), (a["step"], name)


# ---- equal to one process --------------------------------------------------------------------------------------------


def test_two_processes_train_as_one_through_every_phase(data: TrainingData, tmp_path: Path) -> None:
    found = compare(tmp_path, data, steps_per_epoch=2, checkpoint_every=2)
    assert found.keys() == set(PAPER_PHASES)
    for phase, (parameters, images) in found.items():
        assert parameters < 1e-8, phase
        assert images < 1e-9, phase
    assert_same_log(tmp_path / "one", tmp_path / "two")
    ends = [list(states(tmp_path / name).values())[-1] for name in ("one", "two")]
    memories = [state["memory"] for state in ends]
    assert bool(memories[0]["filled"].all())
    assert all(torch.allclose(memories[0][name].double(), memories[1][name].double()) for name in memories[0])
    assert len(ends[1]["pools"]["a"]["images"]) == 24  # those of both processes
    assert largest_difference(*(state["averaged"] for state in ends)) < 1e-8
    # the batches were of the kind that is to be tested
    dataset = PairedCrops(data, 4, 0, 0, 32, 0.5, CITYSCAPES.small_sample)
    small = [bool((dataset[i]["labels_a"] == LIGHT).any()) for i in range(4)]
    assert any(small[i] != small[i + 1] for i in range(0, 4, 2))


def only_the_first_writes(trainer: Trainer) -> None:
    if not trainer.world.is_first:

        def refuse(event: str, arguments: tuple[Any, ...]) -> None:
            writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if (writes and str(trainer.out) in str(arguments[0])) or event in ("os.mkdir", "os.rename", "os.remove"):
                os._exit(3)

        sys.addaudithook(refuse)
    trainer.fit()
    trainer.world.wait()
    # every process has what the first one has saved
    assert largest_difference(trainer.method.networks.state_dict(), states(trainer.out)[trainer.step]["model"]) == 0


def drawn(data_out: Path, **changes: Any) -> Any:
    """Everything that is drawn in a step: dropout, starts of k-means, patches, pools; and batch norm."""
    config = same_anyhow(data_out, batch_size=4, pool=3, variant="published", **changes)
    losses = dataclasses.replace(
        config.losses, aca_clusters=2, aca_init="random", aca_metric="cosine", sga_patches="random", sr_every_step=True
    )
    networks = dataclasses.replace(config.networks, dropout=0.5, segmenter_norm="batch")
    return dataclasses.replace(config, steps_per_epoch=1, checkpoint_every=1, losses=losses, networks=networks)


def test_only_the_spread_of_the_parts_differs_whatever_is_drawn(data: TrainingData, tmp_path: Path) -> None:
    """Four parts: in one process; in two, of which only the first writes; and first in one, then in two."""
    Trainer(drawn(tmp_path / "one", accumulate=4), data, say=quiet).fit()
    in_processes(2, tmp_path, drawn(tmp_path / "two", devices=2, accumulate=2), only_the_first_writes, data)
    Trainer(drawn(tmp_path / "both", accumulate=4, max_steps=3), data, say=quiet).fit()

    def go_on(trainer: Trainer) -> None:
        torch.rand(trainer.world.rank)  # whatever else draws in a process must not matter
        trainer.resume()
        assert trainer.step == 3
        trainer.fit()

    in_processes(2, tmp_path, drawn(tmp_path / "both", devices=2, accumulate=2), go_on, data)
    expected = states(tmp_path / "one")[6]
    assert any(name.endswith("running_var") for name in expected["model"])
    for name in ("two", "both"):
        found = states(tmp_path / name)[6]
        assert largest_difference(expected["model"], found["model"]) < 1e-8, name
        for pool in ("a", "b"):
            images = [torch.stack(state["pools"][pool]["images"]) for state in (expected, found)]
            assert torch.allclose(*images, atol=1e-9)
        assert_same_log(tmp_path / "one", tmp_path / name)


def test_accumulation_equals_a_larger_batch(data: TrainingData, tmp_path: Path) -> None:
    for name, parts in (("whole", 1), ("parts", 4)):
        config = same_anyhow(tmp_path / name, batch_size=4, steps_per_epoch=1, accumulate=parts)
        Trainer(config, data, say=quiet).fit()
    whole, parts = (states(tmp_path / name)[6] for name in ("whole", "parts"))
    assert largest_difference(whole["model"], parts["model"]) < 1e-8
    assert_same_log(tmp_path / "whole", tmp_path / "parts")


def test_processes_share_the_positions_and_draw_different_pairs(data: TrainingData, tmp_path: Path) -> None:
    for accumulate in (1, 2):
        shares = [Microbatches(World(rank, 3), accumulate, 12, seed=0).positions(1, 3) for rank in range(3)]
        assert sorted(p for share in shares for p in share) == list(range(12, 36))
        assert all(len(share) == 8 for share in shares)
    # at the same moment all parts of the processes together are a run of the batch, for the pools
    assert [Microbatches(World(rank, 3), 2, 12, seed=0).positions(0, 1)[:2] for rank in range(3)] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    assert Microbatches(World(), 1, 4, seed=0).positions(2, 5) == list(range(8, 20))

    config = same_anyhow(tmp_path, batch_size=4, devices=2)
    pairs = []
    for rank in range(2):
        trainer = Trainer(config, data, say=quiet, world=World(rank, 2))
        method_of(trainer).memory.write(torch.arange(4), torch.eye(4, 6), torch.zeros(4, 2, dtype=torch.long))
        for epoch in (0, 5):
            batches = list(trainer.loader(epoch, 0))
            assert [len(b["real_a"]) for b in batches] == [2] * 4
            pairs.append(torch.cat([torch.cat((b["real_a"], b["real_b"]), 1) for b in batches]))
    for first, second in ((pairs[0], pairs[2]), (pairs[1], pairs[3])):
        assert not any(torch.equal(a, b) for a in first for b in second)


# ---- one that fails --------------------------------------------------------------------------------------------------


def test_an_image_that_only_one_process_reads_ends_all(data: TrainingData, tmp_path: Path) -> None:
    config = same_anyhow(tmp_path / "run", devices=2)
    get = PairedCrops.__getitem__
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")

    def spoiled(self: PairedCrops, position: int) -> Any:
        if (self.epoch, position) == (1, 3):
            self.data = dataclasses.replace(self.data, a=tuple(dataclasses.replace(f, image=bad) for f in self.data.a))
        return get(self, position)

    def train(trainer: Trainer) -> None:
        with pytest.raises(
            RunError, match=r"bad\.png: is not an image of a known format.*\nEverything until then is saved"
        ):
            trainer.fit()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PairedCrops, "__getitem__", spoiled)
        in_processes(2, tmp_path, config, train, data)
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].name == "step_00000005.pt"


def test_a_loss_that_is_not_finite_in_one_part_stops_all(data: TrainingData, tmp_path: Path) -> None:
    def train(trainer: Trainer) -> None:
        before = {k: v.clone() for k, v in trainer.method.networks.state_dict().items() if "original" in k}
        temperature = method_of(trainer).objective.temperature
        if not trainer.world.is_first:
            method_of(trainer).objective.temperature = lambda *x: temperature(*x) * math.nan  # type: ignore[assignment]
        batch = next(iter(trainer.loader(1, 0)))
        with pytest.raises(RuntimeError, match="step 0: the loss term 'temp' is nan; nothing was updated"):
            trainer.training_step(batch, 1)
        assert all(torch.equal(trainer.method.networks.state_dict()[k], v) for k, v in before.items())

    in_processes(2, tmp_path, same_anyhow(tmp_path / "run", devices=2), train, data)


def test_ctrl_c_that_reaches_one_process_stops_all_after_the_same_step(data: TrainingData, tmp_path: Path) -> None:
    def train(trainer: Trainer) -> None:
        training_step = trainer.training_step

        def press(*arguments: Any) -> dict[str, Any]:
            if trainer.step == 2 and not trainer.world.is_first:
                os.kill(os.getpid(), signal.SIGINT)
            return training_step(*arguments)

        trainer.training_step = press  # type: ignore[method-assign]
        assert not trainer.fit()
        assert trainer.step == 3

    in_processes(2, tmp_path, same_anyhow(tmp_path / "run", devices=2), train, data)
    assert list(states(tmp_path / "run")) == [3]


EXACT = [
    *("--preset=mini", *TINY, "--batch_size=2", "--pool=1000", "--precision=64-true"),
    *("--networks.dropout=0", "--losses.aca_clusters=1", "--networks.segmenter_norm=instance"),
]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def rank_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/environ").read_text().split("LOCAL_RANK=")[1].split("\0")[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads the processes' environments")
def test_a_killed_process_ends_all_and_any_number_goes_on(data_folder: Path, tmp_path: Path) -> None:
    assert main([*EXACT, f"--data={data_folder}", f"--out={tmp_path / 'whole'}"]) == 0
    out = tmp_path / "run"
    process = start(*EXACT, f"--data={data_folder}", f"--out={out}", "--devices=2")
    wait_for_rows(out, 5, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    by_rank = {rank_of(int(pid)): int(pid) for pid in children}
    os.kill(by_rank[1], signal.SIGKILL)
    killed = time.monotonic()
    while is_running(by_rank[0]):
        assert time.monotonic() - killed < 10
        time.sleep(0.05)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: process 1 of 2 was killed by SIGKILL" in told
    assert f"--out {out} --resume" in told
    assert "Traceback" not in told
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)

    saved = len(list_checkpoints(out / "checkpoints"))
    assert saved > 0
    assert main([f"--out={out}", "--resume", "--devices=1", "--max_steps=8"]) == 0
    process = start(f"--out={out}", "--resume", "--devices=2")
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert told.count("resumed after step 8 of 12") == 1
    assert_same_log(tmp_path / "whole", out)
    weights = [load_file(folder / "weights.safetensors") for folder in (tmp_path / "whole", out)]
    assert largest_difference(*weights) < 1e-8


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices=2"], "batch_size: expected a multiple of devices * num_nodes * accumulate = 2, got 1"),
        (["--accumulate=2", "--batch_size=3"], "accumulate = 2, got 3"),
        (["--devices=2", "--batch_size=2", "--device=cuda:1"], "device: expected auto, cpu or cuda"),
        (["--accumulate=0"], "accumulate: expected a number >= 1"),
        (["--precision=16-mixed"], "precision"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


def test_more_processes_than_the_options_say_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: TrainingData, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["--devices=1"]) == 2
    assert "devices: expected devices * num_nodes = 2" in capsys.readouterr().err
    monkeypatch.delenv("LOCAL_RANK")
    monkeypatch.delenv("WORLD_SIZE")
    assert main(["--num_nodes=2", "--batch_size=2"]) == 2
    assert "num_nodes: 2 machines need a launcher on each, such as torchrun" in capsys.readouterr().err
    with pytest.raises(ValueError, match="devices: expected 1 in all"):
        Trainer(same_anyhow(tmp_path, devices=2), data)


def test_bfloat16_trains_and_images_and_scores_stay_float32(data: TrainingData, tmp_path: Path) -> None:
    told: list[str] = []
    changes: dict[str, Any] = {"precision": "bf16-mixed", "steps_per_epoch": 1, "checkpoint_every": 1}
    trainer = Trainer(same_anyhow(tmp_path / "half", **changes), data, say=told.append)
    assert "bf16-mixed: many times slower" in told[0]
    seen: set[tuple[str, torch.dtype]] = set()
    for name, network in trainer.method.networks.named_children():
        network.register_forward_hook(
            lambda _, __, y, name=name: seen.add((name, (y if isinstance(y, torch.Tensor) else y[0][0]).dtype))
        )
    assert trainer.fit()
    expected = {"decoder": torch.float32, "discriminator": torch.float32, "encoder": torch.bfloat16}
    # the sweep and the panel run without autocast
    expected |= {"segmenter": torch.bfloat16}
    for name in expected:
        dtypes = {dtype for network, dtype in seen if network.startswith(name)}
        assert dtypes - {torch.float32} == {expected[name]} - {torch.float32}, name
    state = states(tmp_path / "half")
    assert all(v.dtype == torch.float32 for v in state[6]["model"].values() if v.is_floating_point())
    # close to float32 after a step
    changes |= {"precision": "32-true", "max_steps": 1}
    Trainer(same_anyhow(tmp_path / "full", **changes), data, say=quiet).fit()
    rows = [read_log(tmp_path / name / "log.csv")[0] for name in ("half", "full")]
    for term in ("adv", "cyc", "tv", "sga", "disc_a", "total"):
        assert float(rows[0][term]) == pytest.approx(float(rows[1][term]), rel=0.02), term
        assert rows[0][term] != rows[1][term]
    # a run may go on in another precision
    changed = Trainer(same_anyhow(tmp_path / "half", steps_per_epoch=1), data, say=quiet)
    changed.resume()
    image = translated(changed.config, data, {"model": changed.method.networks.state_dict()})
    assert image.dtype == torch.float64


# torch's own, about the features that go from one network to the next
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_networks_give_the_same(data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile_module = nn.Module.compile

    def traced(self: nn.Module) -> None:
        compiled.append(type(self).__name__)
        compile_module(self, backend="eager")  # what is traced; the code that Inductor makes is its own matter

    monkeypatch.setattr(nn.Module, "compile", traced)
    after = []
    for compile_them in (False, True):
        trainer = Trainer(same_anyhow(tmp_path, compile=compile_them), data, say=quiet)
        trainer.method.enter_epoch(0)
        values = trainer.training_step(next(iter(trainer.loader(0, 0))), 0)
        after.append((trainer.method.networks.state_dict(), values))
    assert sorted(compiled) == ["Decoder"] * 2 + ["Discriminator"] * 2 + ["Encoder"] * 2 + ["Segmenter"] * 2
    assert largest_difference(after[0][0], after[1][0]) < 1e-9
    assert after[1][1] == pytest.approx(after[0][1], rel=1e-9)
