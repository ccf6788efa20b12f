"""What a message costs on a broker that holds much: messages, topics, groups, idle connections.

Ours only, ASYNC_FLUSH. Each curve has a broker of its own, which is filled step by step; at each step the
same short load is measured: sends of 128 B, 4 × 64 in flight, and pulls of what was sent, all of one topic.
With many topics there are also sends to all of them by turns.
"""

import os
import resource
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from comparison import machine, rows, wire
from comparison.generator import Times
from comparison.results import KINDS, Results
from comparison.servers import Server
from comparison.sessions import FAILURES, Setup, say

TOPIC = "bench-busy"
LOAD = ["--topic", TOPIC, "--size", "128"]
# What is stored before another curve than that over messages: the first million costs less than the next.
FIRST = [*LOAD, "--batch", "32", "--in-flight", "16", "--count", "1000000"]
POINT = Times(1, 2)
PULL_POINT = Times(1, 1)
# Loads of a point, of which the middle one counts: two of them differ by more than what is looked for.
REPEATS = 3
# They take long: later rounds do without.
ROUNDS = 2
# A curve whose next point takes longer to reach ends there.
FILL_PATIENCE_S = 60
# What filling left to be flushed, thousands of new files among it, is not what a message costs afterwards.
SETTLE_S = 4
# So many requests between two looks at the clock.
FILL_REQUESTS = 500
# A heartbeat of so many groups is about 30 KB.
GROUPS_A_HEARTBEAT = 100
# Sockets beside those of idle clients.
OTHER_SOCKETS = 200


class FillTooSlow(Exception):
    """The broker takes too long to fill."""


@dataclass
class Filled:
    """A broker that is filled, and the connections that stay open meanwhile."""

    setup: Setup
    server: Server
    held: ExitStack
    started: float = field(default_factory=time.monotonic)

    def patience_s(self) -> float:
        """How long the filling may take still."""
        left = FILL_PATIENCE_S - (time.monotonic() - self.started)
        if left <= 0:
            raise FillTooSlow(f"after {FILL_PATIENCE_S} s")
        return left

    def call(self, connection: wire.Connection, requests: list):
        """Many requests on one connection."""
        for start in range(0, len(requests), FILL_REQUESTS):
            self.patience_s()
            connection.call_all(requests[start : start + FILL_REQUESTS])


@dataclass(frozen=True)
class Curve:
    """How a broker is filled, and up to where."""

    name: str
    title: str
    steps: tuple[int, ...]
    quick_steps: tuple[int, ...]
    fill: Callable[[Filled, int, int], None]
    # Sends to all topics are measured too.
    is_spread: bool = False
    # A broker that starts anew has it still.
    is_stored: bool = False


def run(setup: Setup, results: Results, number: int, curve: Curve):
    """Measures a curve, unless it is on disk already."""
    if results.has(number, "curves", curve.name):
        return
    say(f"round {number}: curve over {curve.title}")
    points: list[dict] = []
    steps = curve.quick_steps if setup.quick else curve.steps
    settings = {"flushDiskType": rows.ASYNC}
    setup.page_cache.fill()
    try:
        with Server("ours", setup.binaries, setup.stores, settings) as server, ExitStack() as held:
            setup.generator.run(server, "send", LOAD, Times(0, 1))
            if curve.name != rows.MESSAGES:
                setup.generator.run(server, "send", FIRST, Times(0, 1))
            filled = Filled(setup, server, held)
            for step in steps:
                fill_s = _fill(filled, curve, points, step)
                points.append({"x": step, "fill_s": fill_s, **_point(filled, step if curve.is_spread else 0)})
    except (*FAILURES, FillTooSlow) as why:
        results.miss(f"curve over {curve.title}, round {number}", why)
    if points:
        results.put(number, "curves", curve.name, {"flush": rows.ASYNC, "points": points})


def _fill(filled: Filled, curve: Curve, points: list[dict], step: int) -> float:
    """From the last of the points to the next step; in how many seconds."""
    filled.started = time.monotonic()
    curve.fill(filled, points[-1]["x"] if points else 0, step)
    return round(time.monotonic() - filled.started, 1)


def _point(filled: Filled, topics: int) -> dict:
    """Costs and memory; with sends to so many topics, if there are some."""
    os.sync()
    time.sleep(SETTLE_S)
    server, generate = filled.server, filled.setup.generator.run
    point = {"stored": wire.stored(server.port, TOPIC, rows.QUEUES)}
    point["send"] = _middle([generate(server, "send", LOAD, POINT) for _ in range(REPEATS)])
    pulls = [generate(server, "pull", [*LOAD, "--in-flight", "4"], PULL_POINT) for _ in range(REPEATS)]
    point["pull"] = _middle(pulls)
    point["memory"] = machine.memory_bytes(server.pid)
    if topics:
        point["spread"] = generate(server, "send", [*LOAD, "--topics", str(topics), "--queues", "1"], POINT)
    costs = [f"{kind} {point[kind]['server_cpu_us_per_message']:.2f} µs" for kind in KINDS if kind in point]
    say(f"  {point['send']['messages_per_s']:,.0f} msg/s; {', '.join(costs)}")
    return point


def _middle(loads: list[dict]) -> dict:
    return sorted(loads, key=lambda load: load["messages_per_s"])[len(loads) // 2]


def _fill_messages(filled: Filled, _reached: int, step: int):
    missing = step - wire.stored(filled.server.port, TOPIC, rows.QUEUES)
    if missing > 0:
        arguments = [*LOAD, "--batch", "32", "--in-flight", "16", "--count", str(missing)]
        filled.setup.generator.run(filled.server, "send", arguments, Times(0, 1))


def _fill_topics(filled: Filled, reached: int, step: int):
    """Topics of one queue with one message each, beside the busy one."""
    names = [f"{TOPIC}-{number:05}" for number in range(reached, step)]
    with wire.Connection(filled.server.port) as connection:
        filled.call(connection, [wire.new_topic(name, 1) for name in names])
        filled.call(connection, [wire.send(name, 0, b"one") for name in names])


def _fill_groups(filled: Filled, reached: int, step: int):
    """Groups with a member each, which subscribe to the busy topic and have committed offsets."""
    for first in range(reached, step, GROUPS_A_HEARTBEAT):
        groups = [f"group-{number}" for number in range(first, min(first + GROUPS_A_HEARTBEAT, step))]
        connection = filled.held.enter_context(wire.Connection(filled.server.port))
        connection.call(*wire.heartbeat(f"member-{first}", [], groups, TOPIC))
        commits = [wire.commit(group, TOPIC, queue, 1) for group in groups for queue in range(rows.QUEUES)]
        filled.call(connection, commits)


def _fill_connections(filled: Filled, reached: int, step: int):
    """Producers that said who they are, and nothing since."""
    for number in range(reached, step):
        filled.patience_s()
        connection = filled.held.enter_context(wire.Connection(filled.server.port))
        connection.call(*wire.heartbeat(f"idle-{number}", ["idle"], [], TOPIC))


CURVES = (
    Curve(
        rows.MESSAGES,
        "messages stored",
        (0, 1_000_000, 4_000_000, 8_000_000),
        (0, 1_000_000),
        _fill_messages,
        is_stored=True,
    ),
    Curve(
        rows.TOPICS,
        "topics beside the busy one",
        (1, 100, 1_000, 10_000),
        (1, 1_000),
        _fill_topics,
        is_spread=True,
        is_stored=True,
    ),
    Curve(rows.GROUPS, "groups", (0, 10, 100, 1_000), (0, 100), _fill_groups),
    Curve(rows.OPEN, "idle connections", (0, 100, 1_000, 5_000), (0, 1_000), _fill_connections),
)


def allow_connections():
    """As many files as the system lets us open: servers inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    needed = max(CURVES[-1].steps) + OTHER_SOCKETS
    if most != resource.RLIM_INFINITY and most < needed:
        raise SystemExit(f"open files are limited to {most}, {needed} are needed: raise `ulimit -Hn`")
