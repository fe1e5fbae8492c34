"""The check of the examples against the built wheel (``make wheel``) sees what is wrong with them."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from drills.check_examples import EXAMPLES, check, flags_in_use, scripts, verdict

HELP = "usage: x.py [-h] --run DIR\n\noptions:\n  --run RUN\n  --losses.tv TV\n"


def test_every_program_is_found_and_shows_its_options_in_use() -> None:
    found = scripts(EXAMPLES)
    assert {"train_morngan.py", "recipes/cut.py", "studies/ablation.py"} <= {str(p) for p in found}
    assert not {"recipes/crops.py", "recipes/segmenters.py"} & {str(p) for p in found}
    for script in found:
        assert flags_in_use(script), f"{script}: neither its docstring nor a page holds a command"


def test_options_in_use_are_those_of_docstring_and_pages(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "examples" / "x.py").write_text('"""X.\n\npython examples/x.py --run DIR\n"""\n')
    (tmp_path / "README.md").write_text("```bash\npython examples/y.py --not-of x\n```\n")
    (tmp_path / "docs" / "a.md").write_text(
        "`python examples/x.py --losses.tv 1` and `--other`\n```\npython examples/x.py --a 1 \\\n  --b 2  # --c\n```\n"
    )
    assert flags_in_use(Path("x.py"), tmp_path) == ["--a", "--b", "--losses.tv", "--run"]


@pytest.mark.parametrize(
    ("status", "out", "err", "right", "why"),
    [
        (0, HELP, "", True, "2 options"),
        (0, HELP.replace("--run RUN\n", "\n"), "", False, "help lacks --run"),
        (0, "", "", False, "no help"),
        (0, "usage: x.py [-h] [--help]\n", "", False, "no help"),
        (1, "", "x.py needs: pip install 'morn-losses[lightning,train]'\n", True, "asks for [lightning,train]"),
        (1, "", "x.py needs: pip install 'morn-losses[train]'\n", False, "which is installed"),
        (1, "", "Traceback (most recent call last):\nModuleNotFoundError: rich\n", False, "ModuleNotFoundError: rich"),
        (2, HELP, "", False, "status 2"),
    ],
)
def test_verdicts(status: int, out: str, err: str, right: bool, why: str) -> None:
    found, text = verdict(status, out, err, ["--run"], ["train"])
    assert (found, why in text) == (right, True), text


def test_a_library_beside_the_examples_is_not_the_installed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drills.check_examples.flags_in_use", lambda script: ["--run"])
    (tmp_path / "morn_losses.py").write_text("")
    (tmp_path / "x.py").write_text(
        '"""X.\n\npython examples/x.py --run DIR\n"""\nimport argparse\nimport morn_losses\n'
        'p = argparse.ArgumentParser()\np.add_argument("--run")\np.parse_args()\n'
    )
    right, why = check(Path("x.py"), tmp_path, ["train"])
    assert not right
    assert "not the installed package" in why
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert check(Path("x.py"), tmp_path, ["train"]) == (True, "1 options")
