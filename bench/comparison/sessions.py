"""One server from its start to its end, and the works that it is measured with.

A session begins with a fresh store and a server that is warmed up; between works everything dirty is
written to the disk, so that no work pays for the one before. Sessions are measured whole or not at all.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from comparison import machine, rows, wire
from comparison.generator import Generator, LoadFailed, Times
from comparison.results import Results
from comparison.rows import Work
from comparison.servers import Binaries, Server

# Java compiles what runs often, and goes on doing so for some time; ours is compiled.
WARM_UP_S = {"java": 25, "ours": 2, "bare": 1}
# Fewer kinds of requests, which are slower.
SYNC_WARM_UP_S = {"java": 15, "ours": 1}
# Before every work: another kind of request is other code.
WORK_WARM_UP_S = {"java": 3, "ours": 1, "bare": 1}
FILL_S = 2
# What may go wrong with one measurement, and must not end all of them.
FAILURES = (LoadFailed, wire.WireError, OSError, RuntimeError)
# After the last work, before memory is read.
REST_S = 2


@dataclass(frozen=True)
class Setup:
    """What all sessions of a run share."""

    binaries: Binaries
    generator: Generator
    stores: Path
    page_cache: machine.PageCache
    seconds: int
    quick: bool

    def times(self, system: str, work: Work) -> Times:
        """Of one work."""
        return Times(WORK_WARM_UP_S[system], max(round(self.seconds * work.time_share), 1))


def warm_up_s(system: str, flush: str, quick: bool) -> int:
    """Seconds of load after a start."""
    seconds = (SYNC_WARM_UP_S if flush == rows.SYNC else WARM_UP_S)[system]
    return seconds // 3 + 1 if quick else seconds


def round_of_sessions(number: int) -> list[tuple[str, str]]:
    """System and flush mode of each; every second round backwards, so that no one is always last."""
    order = [(system, flush) for flush in (rows.ASYNC, rows.SYNC, rows.NONE) for system in rows.SYSTEMS]
    order = [(system, flush) for system, flush in order if flush in rows.FLUSHES[system]]
    return order if number % 2 else order[::-1]


def run(setup: Setup, results: Results, session: tuple[int, str, str], works: list[Work]):
    """Measures these works, unless all of them are on disk already."""
    number, system, flush = session
    works = [work for work in works if system in work.systems and flush == _flush(system, work)]
    if not works or all(results.has(number, system, work.name) for work in works):
        return
    say(f"round {number}: {system}, {flush}")
    setup.page_cache.fill()
    settings = {} if system == "bare" else {"flushDiskType": flush}
    try:
        with Server(system, setup.binaries, setup.stores, settings) as server:
            _warm_up(setup, results, session, server)
            _Works(setup, results, number, server).run(works)
            if complaints := server.complaints():
                say(f"  {complaints} lines of WARN or ERROR:\n{server.log_tail()}")
    except FAILURES as why:
        results.miss(f"{system}, {flush}, round {number}", why)


def _warm_up(setup: Setup, results: Results, session: tuple[int, str, str], server: Server):
    number, system, flush = session
    times = Times(0, warm_up_s(system, flush, setup.quick))
    result = setup.generator.run(server, "send", ["--topic", "warm-up", "--size", "1024"], times)
    results.put(number, system, f"warm-up, {flush}", {"flush": flush, "result": result})


def _flush(system: str, work: Work) -> str:
    return rows.NONE if system == "bare" else work.flush


class _Works:
    """The works of one session."""

    def __init__(self, setup: Setup, results: Results, number: int, server: Server):
        self._setup = setup
        self._results = results
        self._number = number
        self._server = server
        self._written: set[str] = set()

    def run(self, works: list[Work]):
        loads = [work for work in works if work.is_load]
        for work in loads:
            self._run(work)
        time.sleep(REST_S)
        if loads and loads[0].flush == rows.ASYNC and self._server.system != "bare":
            memory = {"memory": machine.memory_bytes(self._server.pid), "after": [work.name for work in loads]}
            self._put(rows.MEMORY, memory)
        for work in works:
            if not work.is_load:
                self._run(work)

    def _run(self, work: Work):
        try:
            self._put(work.name, self._measure(work))
        except FAILURES as why:
            self._results.miss(f"{self._server.system}, {work.name}, round {self._number}", why)

    def _measure(self, work: Work) -> dict:
        load = ["--topic", work.topic] if work.is_load else []
        if work.reads and work.topic not in self._written:
            self._generate("send", [*load, "--size", "1024"], Times(0, FILL_S))
        self._written.add(work.topic)
        os.sync()
        watch = machine.CpuWatch(self._server.pid)
        times = self._setup.times(self._server.system, work)
        result = self._generate(work.kind, [*load, *work.arguments], times)
        measured = {"flush": _flush(self._server.system, work), "result": result, **watch.others()}
        say(f"  {work.name}: {result['messages_per_s']:,.0f} msg/s, {refusals(result) or 'none failed'}")
        if work.reads:
            measured["whole"] = self._read_whole(load)
        return measured

    def _read_whole(self, load: list[str]) -> dict:
        """Everything stored in the topic, once; the generator fails if that is not what is received."""
        result = self._generate("pull", [*load, "--once", "--in-flight", "4"], Times(0, 1))
        return {name: result[name] for name in ("stored", "received")}

    def _generate(self, kind: str, arguments: list[str], times: Times) -> dict:
        return self._setup.generator.run(self._server, kind, arguments, times)

    def _put(self, name: str, value: dict):
        self._results.put(self._number, self._server.system, name, value)


def refusals(result: dict) -> str:
    """What was refused or lost in a run, by kind; empty if nothing was."""
    kinds = result.get("failures_by_kind") or {}
    return ", ".join(f"{count:,} × {kind}" for kind, count in sorted(kinds.items()))


def say(text: str):
    """Tells who waits what happens."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
