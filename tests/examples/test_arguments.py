"""The command lines: switches that stand alone, and help that starts with examples which are right."""

from __future__ import annotations

import importlib
import shlex
import sys
from pathlib import Path

import pytest
from jsonargparse import auto_parser

from ntir2dc import arguments
from ntir2dc.arguments import examples_of, lists, switches, usage_of, with_lists, with_values
from ntir2dc.config import TrainConfig
from ntir2dc.console import call
from train_morngan import parse

EXAMPLES = Path(arguments.__file__).resolve().parents[1]
COMMANDS = sorted(
    path.relative_to(EXAMPLES).with_suffix("").as_posix().replace("/", ".")
    for pattern in ("*.py", "studies/*.py")
    for path in EXAMPLES.glob(pattern)
    if "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_three_examples_which_it_takes(name: str) -> None:
    command = importlib.import_module(name)
    examples = examples_of(command.__doc__)
    assert len(examples) >= 3
    for example in examples:
        python, script, *options = shlex.split(example)
        assert (python, script) == ("python", f"examples/{name.replace('.', '/')}.py")
        if name in ("train_morngan", "run_onnx"):
            command.parse(options)
        else:
            parser = auto_parser(command.main, as_positional=False, exit_on_error=False, allow_abbrev=False)
            parser.parse_args(with_lists(with_values(options, switches(command.main)), lists(command.main)))


def main(run: Path, limit: int = 0, deep: bool = False, wide: bool = True) -> int:
    """Do something.

    Args:
        run: a folder.
        limit: a number.
        deep: or shallow.
        wide: or narrow.
    """
    print(run, limit, deep, wide)
    return 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--run x", "x 0 False True"),
        ("--run x --deep", "x 0 True True"),
        ("--deep --run x --wide false", "x 0 True False"),
        ("--deep true --wide=false --run x", "x 0 True False"),
        ("--deep false --limit 2 --run x", "x 2 False True"),
    ],
)
def test_switches_stand_alone_or_say_what_they_are(
    line: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", *line.split()])
    assert call(main) == 0
    assert capsys.readouterr().out == f"{told}\n"


def test_a_command_without_arguments_stays_one() -> None:
    assert with_values([], ["--deep"]) == []


@pytest.mark.parametrize("line", ["--run x --deep 3", "--run x --limit", "--run x --dee true"])
def test_what_is_no_switch_needs_its_value(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", *line.split()])
    with pytest.raises(SystemExit) as stopped:
        call(main)
    assert stopped.value.code == 2


def test_switches_of_the_trainer_stand_alone() -> None:
    assert {"--compile", "--modules.sc", "--networks.checkpointing"} <= switches(TrainConfig)
    config, resume = parse(["--compile", "--networks.checkpointing", "--deterministic", "false", "--seed", "3"])
    assert (config.compile, config.networks.checkpointing, config.deterministic, config.seed) == (True, True, False, 3)
    assert not resume


def test_help_starts_with_the_examples(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    doc = "Something.\n\npython examples/x.py --run a\npython examples/x.py --run b --share 5%\n"
    monkeypatch.setattr(sys.modules[__name__], "__doc__", doc)
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    with pytest.raises(SystemExit):
        call(main)
    told = capsys.readouterr().out
    assert told.startswith("usage: \n  python examples/x.py --run a\n  python examples/x.py --run b --share 5%\n")
    assert "may stand alone, which means true" in told
    assert usage_of("Something without examples.") is None
    with pytest.raises(SystemExit):
        parse(["--help"])
    assert capsys.readouterr().out.startswith("usage: \n  python examples/train_morngan.py --preset demo")


def of_several(run: str, results: list[str] = [], limit: int = 0) -> int:  # noqa: B006
    """Do something with several values."""
    return 0


def test_values_that_follow_an_option_of_several_are_one_list() -> None:
    parser = auto_parser(of_several, as_positional=False, exit_on_error=False, allow_abbrev=False)
    arguments = ["--run", "x", "--results", "a=b c", "d=é", "--limit", "3", "--results", "e=f"]
    found = parser.parse_args(with_lists(arguments, lists(of_several)))
    assert (found.run, found.results, found.limit) == ("x", ["a=b c", "d=é", "e=f"], 3)
    assert parser.parse_args(with_lists(["--run", "x"], lists(of_several))).results == []
    assert with_lists(["--results=[1]", "--run", "x"], ["--results"]) == ["--results=[1]", "--run", "x"]
