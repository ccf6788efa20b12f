"""The table of issue 6: works, and the goals for them.

A work is one call of `thrustmq bench` against a running server. Everything uses 8 queues and JSON
headers; messages carry the unique keys that clients give them, which brokers index.
"""

from dataclasses import dataclass

ASYNC, SYNC, NONE = "ASYNC_FLUSH", "SYNC_FLUSH", "never flushed"
# What is started for each, in the order of the columns.
SYSTEMS = ("ours", "java", "bare")
FLUSHES = {"ours": (ASYNC, SYNC), "java": (ASYNC, SYNC), "bare": (NONE,)}
QUEUES = 8

CONNECTIONS = "connections"
IDLE_CONNECTIONS = 5_000

BROKERS = ("ours", "java")
ALL = SYSTEMS


@dataclass(frozen=True)
class Work:
    """One row: what is run, and against which servers."""

    name: str
    title: str
    kind: str
    arguments: tuple[str, ...]
    systems: tuple[str, ...] = BROKERS
    flush: str = ASYNC
    topic: str = "bench-1k"
    # Of `--seconds`: less for what writes much.
    time_share: float = 1.0
    # It reads what an earlier work on the topic has stored.
    reads: bool = False
    # Open loop: the rate is given, so that it is no result.
    paced: bool = False

    @property
    def is_load(self) -> bool:
        """Whether messages are sent or pulled; else only memory counts."""
        return self.kind != CONNECTIONS


def _load(size: int, connections: int, in_flight: int, *more: str) -> tuple[str, ...]:
    sizes = ("--size", str(size), "--connections", str(connections), "--in-flight", str(in_flight))
    return (*sizes, *more)


WORKS = (
    Work("send-1k", "send 1 KB, 4 × 64 in flight", "send", _load(1024, 4, 64), ALL),
    Work("send-128", "send 128 B, 4 × 64 in flight", "send", _load(128, 4, 64), ALL, topic="bench-128"),
    Work("send-128-1", "send 128 B, 4 × 1 in flight", "send", _load(128, 4, 1), ALL, topic="bench-128"),
    Work(
        "send-128-1x1",
        "send 128 B, 1 × 1 in flight",
        "send",
        _load(128, 1, 1),
        ALL,
        topic="bench-128",
        time_share=0.5,
    ),
    Work(
        "pull",
        "pull 1 KB × 32 from page cache, 4 × 4 in flight",
        "pull",
        _load(1024, 4, 4, "--batch", "32"),
        reads=True,
    ),
    Work(
        "open-5000",
        "send 1 KB, open loop, 5,000/s",
        "latency",
        ("--size", "1024", "--connections", "4", "--rate", "5000", "--send-only"),
        ALL,
        topic="bench-open",
        paced=True,
    ),
    Work(
        "end-to-end",
        "1 KB to a long-polling consumer, 5,000/s",
        "latency",
        ("--size", "1024", "--connections", "4", "--rate", "5000"),
        topic="bench-latency",
        paced=True,
    ),
    Work(
        "batch",
        "batches of 32 × 1 KB, 4 × 16 in flight",
        "send",
        _load(1024, 4, 16, "--batch", "32"),
        topic="bench-batch",
        time_share=0.5,
    ),
    Work(
        "transaction",
        "transactions of 1 KB (half message, commit), 4 × 64 in flight",
        "transaction",
        _load(1024, 4, 64),
        topic="bench-transaction",
        time_share=0.75,
    ),
    Work(
        "idle",
        f"{IDLE_CONNECTIONS:,} idle connections",
        CONNECTIONS,
        ("--connections", str(IDLE_CONNECTIONS)),
        time_share=0.5,
    ),
    Work("sync-1k", "send 1 KB, 4 × 64 in flight", "send", _load(1024, 4, 64), flush=SYNC),
    Work("sync-1k-1", "send 1 KB, 1 × 1 in flight", "send", _load(1024, 1, 1), flush=SYNC),
)


@dataclass(frozen=True)
class Goal:
    """What issue 6 asks of us: a bound on a measure, or on its ratio to another server's."""

    work: str
    measure: str
    relation: str
    bound: float
    of: str = ""

    @property
    def at_least(self) -> bool:
        return self.relation == "at least"

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


MEMORY, IDLE = "memory", "idle"
MESSAGES, TOPICS, GROUPS, OPEN = "messages", "topics", "groups", "idle-connections"
FIRST_POINT = "the first point"
# The cost of the last point of a curve may be that of the first and what this kind of machine is wrong by.
NO_GROWTH = 1.1

GOALS = (
    Goal("send-1k", "rate", "at least", 6, of="java"),
    Goal("send-1k", "cpu_us", "at most", 6),
    Goal("send-1k", "cpu_us", "at most", 3, of="bare"),
    Goal("send-128", "rate", "at least", 6, of="java"),
    Goal("send-128", "cpu_us", "at most", 6),
    Goal("send-128", "cpu_us", "at most", 3, of="bare"),
    Goal("send-128-1", "p50_us", "at most", 60),
    Goal("open-5000", "p99_us", "at most", 1_000),
    Goal("open-5000", "p999_us", "at most", 3_000),
    Goal("open-5000", "cpu_us", "at most", 20),
    Goal("batch", "rate", "at least", 600_000),
    Goal("pull", "rate", "at least", 1_000_000),
    Goal("pull", "cpu_us", "at most", 1),
    Goal("sync-1k", "rate", "at least", 10, of="java"),
    Goal("end-to-end", "received_p99_us", "at most", 1_000),
    Goal(MEMORY, "anonymous_mb", "at most", 100),
    Goal(IDLE, "anonymous_mb", "at most", 100),
    Goal(TOPICS, "rate", "at least", 0.95, of=FIRST_POINT),
)
