"""How many instructions of our broker a message takes when the broker holds much.

Callgrind counts them, which does not depend on how fast or busy the machine is: other work may go on beside it.
The broker runs under callgrind, but is counted only while a load runs. What is stored is put there before, by
a broker that is not slowed down. What a broker does without a load, in as much time, does not count.
"""

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from comparison import curves, rows, wire
from comparison.curves import LOAD, Curve, Filled
from comparison.generator import Times
from comparison.results import Results
from comparison.servers import Server
from comparison.sessions import FAILURES, Setup, say

NAME = "instructions"
# Without a clock nothing may be refused for being slow.
SETTINGS = {"flushDiskType": rows.ASYNC, "brokerFastFailureEnable": "false", "osPageCacheBusyTimeOutMills": "60000"}
ONE_CONNECTION = [*LOAD, "--connections", "1"]
WARM_UP = [*ONE_CONNECTION, "--count", "500"]
SENDS = [*ONE_CONNECTION, "--in-flight", "32", "--count", "4096"]
PULLS = [*ONE_CONNECTION, "--in-flight", "4"]
# What a broker does every few seconds is in it.
IDLE_S = 5
# What filling left to do is not.
SETTLE_S = 1


def is_there() -> bool:
    """Whether callgrind can be run."""
    return all(shutil.which(program) for program in ("valgrind", "callgrind_control"))


def run(setup: Setup, results: Results, curve: Curve):
    """Counts at all points of a curve, unless they are on disk already. Once: counts repeat."""
    if results.has(1, NAME, curve.name):
        return
    say(f"instructions over {curve.title}")
    store = setup.stores / f"counted-{curve.name}"
    shutil.rmtree(store, ignore_errors=True)
    points: list[dict] = []
    try:
        for step in curve.quick_steps if setup.quick else curve.steps:
            reached = points[-1]["x"] if points else 0
            points.append(_point(setup, curve, store, (reached, step)))
    except (*FAILURES, curves.FillTooSlow, subprocess.SubprocessError) as why:
        results.miss(f"instructions over {curve.title}", why)
    finally:
        shutil.rmtree(store, ignore_errors=True)
    if points:
        results.put(1, NAME, curve.name, {"flush": rows.ASYNC, "points": points})


def _point(setup: Setup, curve: Curve, store: Path, steps: tuple[int, int]) -> dict:
    reached, step = steps
    if curve.is_stored:
        with Server("ours", setup.binaries, setup.stores, SETTINGS, store=store) as server, ExitStack() as held:
            setup.generator.run(server, "send", WARM_UP, Times(0, 1))
            curve.fill(Filled(setup, server, held), reached, step)
    out = setup.stores / "callgrind"
    counting = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
    server = Server("ours", setup.binaries, setup.stores, SETTINGS, store=store, under=counting)
    with server, ExitStack() as held:
        setup.generator.run(server, "send", WARM_UP, Times(0, 1))
        if not curve.is_stored:
            curve.fill(Filled(setup, server, held), 0, step)
        return {"x": step, **_Counting(setup, server, out).measure()}


class _Counting:
    """A broker under callgrind, and where that writes."""

    def __init__(self, setup: Setup, server: Server, out: Path):
        self._setup = setup
        self._server = server
        self._out = out
        self._dumps = 0

    def measure(self) -> dict:
        time.sleep(SETTLE_S)
        _, idle, seconds = self._count(lambda: time.sleep(IDLE_S))
        idle_per_s = idle / seconds
        found = {"idle_per_s": round(idle_per_s)}
        # Only what is sent here is pulled: what was there at the start is read in another way.
        pulls = [*PULLS, "--from", str(max(wire.ends(self._server.port, curves.TOPIC, rows.QUEUES)))]
        for kind, arguments in (("send", SENDS), ("pull", pulls)):
            load = partial(self._setup.generator.run, self._server, kind, arguments, Times(0, 1))
            result, counted, seconds = self._count(load)
            messages = result["received" if kind == "pull" else "acknowledged"]
            found[kind] = round((counted - idle_per_s * seconds) / messages)
        say(f"  {found['send']:,} a send, {found['pull']:,} a pull, {found['idle_per_s']:,} a second without a load")
        return found

    def _count(self, load: Callable) -> tuple[dict | None, int, float]:
        """What a load said, instructions meanwhile, and seconds."""
        self._tell("-i", "on")
        started = time.monotonic()
        result = load()
        seconds = time.monotonic() - started
        self._tell("-i", "off")
        self._tell("-d")
        self._dumps += 1
        text = self._out.with_name(f"{self._out.name}.{self._dumps}").read_text()
        total = next(line for line in text.splitlines() if line.startswith("totals:"))
        return result, int(total.split()[1]), seconds

    def _tell(self, *what: str):
        command = ["callgrind_control", *what, str(self._server.pid)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
