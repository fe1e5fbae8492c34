"""The benchmark scripts run; what they measure is asserted nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.benchmarks import harness, kmeans_starts
from tests.benchmarks.__main__ import MARK, MODULES, PARTS, main
from tests.benchmarks.harness import Settings, compare


@pytest.mark.parametrize("part", PARTS)
def test_the_scripts_run(part: str, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    page = tmp_path / "page.md"
    page.write_text(f"kept {MARK} replaced")
    results, picture = tmp_path / "results.json", tmp_path / "picture.png"
    main(["--tiny", "--only", part, "--out", str(results), "--page", str(page), "--picture", str(picture)])
    assert picture.is_file() == (part == "scaling")
    torch.set_num_threads(threads)
    assert json.loads(results.read_text())[part]["results"]
    assert page.read_text().startswith(f"kept {MARK}\n\n### ")
    assert "replaced" not in page.read_text()


@pytest.mark.parametrize("part", ["kmeans", "losses", "lookups", "precisions", "inference"])
def test_what_a_gpu_adds_runs(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # on the CPU, and without the compiler
    monkeypatch.setattr(Settings, "on_gpu", True)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: None)
    names = {t.name for row in MODULES[part].rows(Settings(1, tiny=True, full=True)) for t in row.timings}
    adds = {
        "losses": {"morn_losses, compiled"},
        "precisions": {"TF32", "bf16", "bf16, compiled", "its losses alone, bf16, compiled"},
        "inference": {"TF32", "bf16", "bf16, channels_last", "bf16, compiled", "bf16, compiled, CUDA graph"},
    }
    assert adds.get(part, set()) <= names


def test_the_comparison_of_starts_runs(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    kmeans_starts.main(["--problems", "2", "--seeds", "1"])
    torch.set_num_threads(threads)
    assert capsys.readouterr().out.count("\n| clusters |") == 3


def test_results_in_full_stand_beside_the_others_and_phases_can_be_chosen(tmp_path: Path) -> None:
    threads, results = torch.get_num_threads(), tmp_path / "results.json"
    for full, phases in (([], ["baseline", "distill"]), (["--full"], ["baseline"])):
        main(["--tiny", *full, "--only", "step", "--phases", *phases, "--out", str(results)])
    torch.set_num_threads(threads)
    tasks = {name: [row["task"] for row in part["results"]] for name, part in json.loads(results.read_text()).items()}
    assert [task.split(",")[0] for task in tasks["step"]] == ["baseline", "distill", "distill"]
    assert [task.split(",")[0] for task in tasks["step in full"]] == ["baseline"]


def test_what_is_warm_is_called_once_a_repetition() -> None:
    calls = []
    compare("task", {"ours": lambda: calls.append(1)}, Settings(4), warm_up=False)
    assert len(calls) == 4


def test_ratios_are_to_the_first_function_and_missing_peers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(harness, "clock", lambda _: now[0])

    def takes(seconds: float) -> harness.Run:
        def run() -> None:
            now[0] += seconds

        return run

    row = compare("task", {"ours": takes(0.5), "peer": takes(1.5), "absent": None}, Settings(3))
    assert [(t.name, t.median, t.ratio) for t in row.timings] == [("ours", 500.0, 1.0), ("peer", 1500.0, 3.0)]
    assert row.skipped == ["absent"]
    assert "| peer | 1500 (1500 to 1500) | 3.00 |" in harness.table("title", [row])
    assert "absent | not installed, skipped" in harness.table("title", [row])


def test_peak_memory_counts_what_is_held_at_once() -> None:
    x = torch.zeros(1000)

    def run() -> None:
        a = x + 1
        b = a + 1
        del a, b
        c = x + 1
        del c

    assert 8000 <= harness.peak_memory(run) < 9000
