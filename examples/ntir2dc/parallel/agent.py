"""Torch's elastic agent, which is behind ``torchrun``, for the processes of a run on one machine."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.api import SubprocessContext
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from ntir2dc.parallel.launching import GONE

PATIENCE, SAVING = 5.0, 60.0
"""Seconds that the others have to end by themselves when one has failed, and when one is :data:`GONE`."""

_HOST = "127.0.0.1"


class Agent(LocalElasticAgent):
    """Torch's agent, kept from three things that would lose a run or what it says.

    - Ctrl-C and SIGTERM: torch kills the processes 30 seconds later, maybe in the middle of a step, and forgets how
      they ended. Here a signal only reaches each of them.
    - SIGHUP: torch takes it as well, so that a run under ``nohup`` would end with its terminal.
    - One that fails: torch ends the others at once, whatever they are saving or saying, and waits 30 seconds for those
      that hang. Here they have time to end by themselves, and are killed after it.
    """

    failed: dict[int, int]
    """Exit statuses by rank of the processes that failed by themselves."""

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        self.failed = {}
        # a process may send one before the last is there, which gets it as well
        early: list[int] = []
        handlers: dict[signal.Signals, Any] = {s: signal.getsignal(s) for s in (signal.SIGHUP, signal.SIGQUIT)}
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, lambda signum, _: early.append(signum))
            handlers[signum] = lambda signum, _: self._send(signum)
        pids: dict[int, Any] = super()._start_workers(worker_group)
        for signum, handler in handlers.items():  # older versions of torch have set theirs
            signal.signal(signum, handler)
        for number in early:
            self._send(number)
        return pids

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        statuses = self._statuses().values()
        if any(statuses):
            self._wait_for_the_others()
            self._send(signal.SIGKILL)
        elif None in statuses:
            return RunResult(WorkerState.HEALTHY)
        result: RunResult = super()._monitor_workers(worker_group)
        return result

    def _wait_for_the_others(self) -> None:
        started = time.monotonic()
        while True:
            statuses = self._statuses()
            self.failed = {rank: status for rank, status in statuses.items() if status}
            # a bad image ends the others at once, while the first process saves
            patience = SAVING if set(self.failed.values()) == {GONE} else PATIENCE
            if None not in statuses.values() or time.monotonic() - started > patience:
                return
            time.sleep(0.1)

    def _statuses(self) -> dict[int, int | None]:
        return {rank: process.poll() for rank, process in self._processes.items()}

    def _send(self, signum: int) -> None:
        for process in self._processes.values():
            process.send_signal(signum)

    @property
    def _processes(self) -> dict[int, subprocess.Popen[bytes]]:
        assert isinstance(self._pcontext, SubprocessContext)
        return {rank: handler.proc for rank, handler in self._pcontext.subprocess_handlers.items()}


def run_agent(command: Sequence[str], count: int, name: str) -> dict[int, int]:
    """Run ``command`` in ``count`` processes; return the exit statuses by rank of those that failed by themselves.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM before the processes were started.
    """
    rendezvous = RendezvousParameters("c10d", f"{_HOST}:0", name, min_nodes=1, max_nodes=1, local_addr=_HOST)
    spec = WorkerSpec(
        role="",
        local_world_size=count,
        rdzv_handler=get_rendezvous_handler(rendezvous),
        entrypoint=command[0],
        # the agent replaces ${local_rank}, and $$ by $
        args=tuple(argument.replace("$", "$$") for argument in command[1:]),
        max_restarts=0,
        master_addr=_HOST,
        local_addr=_HOST,
    )
    agent = Agent(spec, DefaultLogsSpecs(os.devnull))
    with _quietly(), _signals_as_before():
        try:
            agent.run()
        except SignalException as stopped:
            raise KeyboardInterrupt from stopped
        finally:
            spec.rdzv_handler.shutdown()
    return agent.failed


@contextmanager
def _signals_as_before() -> Iterator[None]:
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)}
    variable = "TORCHELASTIC_SIGNALS_TO_HANDLE"
    asked_for = os.environ.get(variable)
    os.environ[variable] = ""  # torch takes none then, not even for a moment
    try:
        yield
    finally:
        if asked_for is None:
            del os.environ[variable]
        else:
            os.environ[variable] = asked_for
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what the agent logs, which says less than we do."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
