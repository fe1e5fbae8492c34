"""The tracer of tests/drills/trace_step.py: what it takes as entering, as entering again, and as made of the frame."""

from __future__ import annotations

import torch

from drills.trace_step import Call, Thermal, report, way_of


def counted(file: str, above: Call | None = None) -> Call:
    return Call(file, above, counts=True)


def test_a_way_by_hand() -> None:
    loop = counted("loop.py")
    method = counted("method.py", loop)
    own = counted("method.py", method)  # a function of the same file enters nothing
    silent = Call("config.py", own)  # the frame is not there
    networks = [counted("networks.py", silent), counted("networks.py", method)]
    back = counted("loop.py", networks[0])  # a callback
    below = counted("pool.py", back)
    way = way_of([loop, method, own, silent, networks[0], back, below, networks[1]])
    assert way.files == ["loop.py", "method.py", "networks.py", "pool.py"]
    assert dict(way.entries["networks.py"]) == {"method.py": 2}
    assert dict(way.entries["pool.py"]) == {"loop.py": 1}
    assert way.again() == {}
    assert report(way)[-1] == "4 files, 0 of them entered again: none"


def test_a_second_file_above_enters_again() -> None:
    loop = counted("loop.py")
    first, second = counted("first.py", loop), counted("second.py", loop)
    way = way_of([loop, first, counted("blocks.py", first), second, counted("blocks.py", second)])
    assert way.again() == {"blocks.py": ["second.py"]}
    assert report(way)[-1] == "4 files, 1 of them entered again: blocks.py"


def test_what_torch_makes_of_the_frame_belongs_to_it() -> None:
    frame, other = torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4, requires_grad=True)
    thermal = Thermal()
    thermal.learn([frame])
    with thermal:
        mixed = torch.cat((frame, other))
        apart = other * 2
        sums = {"both": (mixed + 1).sum(), "apart": apart.sum()}
    assert thermal.holds({"a": [mixed]})
    assert thermal.holds(sums)
    assert not thermal.holds((other, apart, sums["apart"], 3, None))
