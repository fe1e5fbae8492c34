"""The benchmark scripts run; what they measure is asserted nowhere."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from drills import gpu_trainings, on_gpu
from studies.comparing import measuring
from studies.comparing.measuring import peak_memory
from tests.benchmarks import compare as compare_files
from tests.benchmarks import harness, kmeans_starts
from tests.benchmarks.__main__ import MARK, MODULES, PARTS, main
from tests.benchmarks.harness import Settings, compare


# what exports has its test beside that of the command, with one export for both
@pytest.mark.parametrize("part", [part for part in PARTS if part != "export"])
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


@pytest.mark.parametrize("part", ["kmeans", "losses", "lookups", "edges", "precisions", "inference"])
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


def test_results_say_of_what_and_where_they_are() -> None:
    fields = {"version", "machine", "torch", "conditions", "results"}
    committed = json.loads((Path(__file__).resolve().parents[1] / "docs" / "benchmarks.json").read_text())
    assert {name.split(" in full")[0] for name in committed} <= set(PARTS)
    for part in committed.values():
        assert set(part) == fields
        assert re.fullmatch(r"\d+\.\d+\.\d+\S*", part["version"])


def measured(machine: str, **functions: tuple[float, float, float]) -> dict[str, Any]:
    first = next(iter(functions.values()))[1]
    timings = [
        {"name": name, "low": low, "median": middle, "high": high, "ratio": middle / first}
        for name, (low, middle, high) in functions.items()
    ]
    about = {"version": "0.1.0", "machine": machine, "torch": "2.4.0"}
    return {**about, "results": [{"task": "sum", "timings": timings, "note": "", "skipped": []}]}


def test_two_files_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = {"losses": measured("A", ours=(9, 10, 11), peer=(20, 30, 40), gone=(1, 1, 1))}
    old["data"] = measured("A", a=(1, 1, 1))
    new = {"losses": measured("A", ours=(4, 5, 6), peer=(39, 40, 41), added=(1, 1, 1))}
    old["scaling"] = new["scaling"] = {**measured("A", x=(1, 1, 1)), "results": {"points N": [[10, 2.0], [20, 4.0]]}}
    for name, content in (("old", old), ("new", new)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    compare_files.main([str(tmp_path / "old.json"), str(tmp_path / "new.json")])
    lines = capsys.readouterr().out.splitlines()
    assert "| sum | ours | 10 | 5 | 0.50 | faster, quartiles apart | 1.00 -> 1.00 |" in lines
    assert "| sum | peer | 30 | 40 | 1.33 | within the spread | 3.00 -> 8.00 |" in lines
    assert "| sum | gone | only in the old file | | | | |" in lines
    assert "| sum | added | only in the new file | | | | |" in lines
    assert "| points N | 20 | 4 | 4 | 1.00 | no spread known | - |" in lines
    assert "Only in the old file: data" in lines
    assert not any("other machines" in line for line in lines)


def test_other_machines_are_named() -> None:
    old, new = {"losses": measured("A", ours=(9, 10, 11))}, {"losses": measured("B", ours=(19, 20, 21))}
    found = compare_files.compare(old, new)
    assert "- machine: A -> B" in found
    assert "only the ratios to the first function can be compared" in found
    assert "| sum | ours | 10 | 20 | 2.00 | slower, quartiles apart | 1.00 -> 1.00 |" in found


def test_what_is_warm_is_called_once_a_repetition() -> None:
    calls = []
    compare("task", {"ours": lambda: calls.append(1)}, Settings(4), warm_up=False)
    assert len(calls) == 4


def test_ratios_are_to_the_first_function_and_missing_peers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    for module in (harness, measuring):
        monkeypatch.setattr(module, "clock", lambda _: now[0])

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

    assert 8000 <= peak_memory(run) < 9000


def test_the_command_for_a_gpu_works_and_says_what_became_of_each_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--out", str(tmp_path), "--device", "cpu", "--tiny", "--only", "tests", "lookups"]
    assert on_gpu.main(options) == 0
    assert json.loads((tmp_path / "benchmarks.json").read_text())["lookups"]["results"]
    assert "skipped" in (tmp_path / "tests.log").read_text()
    assert [line.split(" in ")[0] for line in capsys.readouterr().out.splitlines()] == ["tests: done", "lookups: done"]


def test_a_part_without_time_is_named_and_a_failure_is_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert on_gpu.main(["--out", str(tmp_path), "--seconds", "0", "--only", "kmeans"]) == 0
    assert "kmeans: no time left" in capsys.readouterr().out
    monkeypatch.setattr(on_gpu, "command", lambda *_: [sys.executable, "-c", "print('why'); raise SystemExit(3)"])
    assert on_gpu.main(["--out", str(tmp_path), "--only", "edges"]) == 1
    assert "edges: failed with status 3" in capsys.readouterr().out
    assert (tmp_path / "edges.log").read_text() == "why\n"


def test_trainings_for_a_gpu_leave_weights_and_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert gpu_trainings.main(["--out", str(out), "--device", "cpu", "--tiny", "--rows", "night"]) == 0
    kept = {path.suffix for path in (out / "night").iterdir()}
    assert kept == {".csv", ".json", ".safetensors", ".jpg"}
    assert all(x.dtype is not torch.float32 for x in load_file(out / "night" / "segmenters.safetensors").values())
    phases = [line.split(",")[2] for line in (out / "night" / "log.csv").read_text().splitlines()[1:]]
    assert phases == sorted(phases)
    assert set(phases) == set("0123456")
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"night"}
    assert "s a step" in capsys.readouterr().out
