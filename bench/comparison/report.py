"""docs/performance.md: the tables, the goals, the machine, and how to repeat it."""

import json
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from comparison import clients, curves, rows, servers, sessions
from comparison.results import Results
from comparison.rows import Goal, Work

NAMES = {"ours": "ThrustMQ", "java": f"Java {servers.ROCKETMQ_VERSION}", "bare": "bare server"}
MEASURES = {
    "rate": "messages a second",
    "cpu_us": "µs of CPU a message",
    "p50_us": "p50, µs",
    "p99_us": "p99, µs",
    "p999_us": "p99.9, µs",
    "received_p99_us": "send to receive p99, µs",
    "anonymous_mb": "anonymous memory, MB",
}
FIGURES = {
    "throughput.svg": "Messages a second",
    "cpu.svg": "CPU a message",
    "latency.svg": "Latency at 5,000 messages a second",
    "curves.svg": "CPU a message over messages stored, topics, groups and idle connections",
    "instructions.svg": "Instructions a message over messages stored, topics, groups and idle connections",
}
# The rows of the tables about messages.
LOADS = [work for work in rows.WORKS if work.is_load]
# Kinds of latency, and how their rows are called.
LATENCIES = {"": "", "received_": ": send to receive", "late_": ": until it left the generator"}
SHARE_NAMES = {"p50": "p50", "p99": "p99", "p999": "p99.9"}
SHARES = {"ours": ("p50", "p99", "p999"), "java": ("p50", "p99", "p999"), "bare": ("p50", "p99")}
CURVES_ANCHOR = "what-a-message-costs-on-a-broker-that-holds-much"
REQUIREMENTS = servers.REPOSITORY / "bench/requirements.txt"


def write(results: Results, page: Path, environment: Path, note: str | None):
    """The page, and its figures in a folder of its name beside it."""
    figures = page.with_suffix("")
    plot(results, figures, environment)
    machine = json.loads((results.directory / "machine.json").read_text())
    machine["note"] = note
    page.write_text("\n".join([*_page(results, machine, figures), ""]))


def plot(results: Results, figures: Path, environment: Path):
    """Matplotlib lives in an environment of its own: the measuring needs only Python."""
    python = environment / "bin/python"
    if not python.exists():
        venv.create(environment, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", REQUIREMENTS], check=True)
    command = [python, "-m", "comparison.plots", results.directory, figures]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True, stdout=sys.stderr)


def _page(results: Results, machine: dict, figures: Path) -> Iterable[str]:
    yield from _introduction(results, machine)
    yield from ["", "## Goals", "", *_goals(results)]
    yield from ["", "## Throughput", "", *_rates(results), "", _figure(figures, "throughput.svg")]
    yield from ["", "## CPU", "", *_costs(results), "", _figure(figures, "cpu.svg")]
    yield from ["", "## Latency", "", *_latencies(results), "", _figure(figures, "latency.svg")]
    yield from ["", "## Memory", "", *_memory(results)]
    yield from ["", "## What a message costs on a broker that holds much", "", *_curves(results)]
    yield from ["", _figure(figures, "curves.svg"), "", *_instructions(results)]
    yield from ["", _figure(figures, "instructions.svg")]
    yield from ["", "## Clients", "", *_clients(results)]
    yield from ["", "## Requests that failed", "", *_failures(results)]
    yield from ["", "## How it is measured", "", *_method(results, machine)]


def _introduction(results: Results, machine: dict) -> list[str]:
    changed = f" with {machine['changed_files']} changed files" if machine["changed_files"] else ""
    lines = [
        "# Performance",
        "",
        f"ThrustMQ and Apache's Java broker {servers.ROCKETMQ_VERSION}, in turn on one machine, under one load",
        "generator (`thrustmq bench`), which shares the machine with them. This repeats it, and writes this page:",
        "",
        "```sh",
        "bench/run --publish",
        "```",
        "",
        f"{machine['date']}, commit {machine['commit']}{changed}. Rounds: {results.rounds()}, {machine['seconds']} s",
        "a work; medians. The bare server is a lower bound: it reads the same frames, copies bodies one behind the",
        "other into mapped files of 1 GB, and answers; it has no queue and no index, and flushes nothing.",
        "",
        "Before each server starts, memory that nothing uses is filled with page cache, as it is on a machine that has",
        "run for days: else every fresh page of a log is asked of the host, which no broker can help.",
    ]
    if machine["quick"]:
        lines += ["", "**A quick run: to see that the script works, not to quote.**"]
    if machine["note"]:
        lines += ["", f"**{machine['note']}**"]
    return lines


def _table(head: list[str], lines: Iterable[list[str]]) -> list[str]:
    marks = ["---", "---"] + ["---:"] * (len(head) - 2)
    return [f"| {' | '.join(cells)} |" for cells in (head, marks, *lines)]


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _bound(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def _ratio(ours: float | None, other: float | None) -> str:
    return f"{ours / other:.1f} ×" if ours and other else "–"


def _measured(results: Results, work: Work, measure: str) -> dict[str, float | None]:
    return {system: results.median(system, work.name).get(measure) for system in rows.SYSTEMS}


def _rates(results: Results) -> list[str]:
    lines = []
    for work in LOADS:
        if work.paced:
            continue
        of = _measured(results, work, "rate")
        cells = [_with_spread(results, work, system, of[system]) for system in rows.BROKERS]
        ratio = _ratio(of["ours"], of["java"])
        lines.append([work.title, work.flush, *cells, ratio, _number(of["bare"])])
    head = ["messages a second", "flush", NAMES["ours"], NAMES["java"], "ours / Java's", NAMES["bare"]]
    text = [
        "In brackets: the slowest and the fastest round. The bare server's bodies are in a mapped file that is never",
        "flushed, whatever the row says.",
    ]
    return [*_table(head, lines), "", *text]


def _with_spread(results: Results, work: Work, system: str, median: float | None) -> str:
    spread = results.spread(system, work.name, "rate")
    if median is None or spread is None:
        return "–"
    failed = results.failed_requests(system, work.name)
    text = f"**{_number(median)}**"
    if spread[0] != spread[1]:
        text += f" ({_number(spread[0])}–{_number(spread[1])})"
    return f"{text}, [{failed:,} failed](#requests-that-failed)" if failed else text


def _costs(results: Results) -> list[str]:
    lines = []
    for work in LOADS:
        of = _measured(results, work, "cpu_us")
        generator = results.median("ours", work.name).get("generator_cpu_us")
        ratio = _ratio(of["java"], of["ours"])
        cells = [_number(of["ours"]), _number(of["java"]), ratio, _number(of["bare"]), _number(generator)]
        lines.append([work.title, work.flush, *cells])
    head = [
        "µs of CPU a message",
        "flush",
        NAMES["ours"],
        NAMES["java"],
        "Java's / ours",
        NAMES["bare"],
        "the generator",
    ]
    return _table(head, lines)


def _latencies(results: Results) -> list[str]:
    lines = []
    for work in LOADS:
        for prefix, what in LATENCIES.items():
            if not any(prefix + "p50_us" in results.median(system, work.name) for system in rows.BROKERS):
                continue
            cells = []
            for system in rows.SYSTEMS:
                medians = results.median(system, work.name)
                cells += [_number(medians.get(f"{prefix}{share}_us")) for share in SHARES[system]]
            lines.append([work.title + what, work.flush, *cells])
    columns = [f"{NAMES[system]} {SHARE_NAMES[share]}" for system in rows.SYSTEMS for share in SHARES[system]]
    text = [
        "Of a request, or of a message where it is sent to a consumer. In the open loops time counts from the moment",
        "at which a message was due, not from when it left; how late the generator was is in these times.",
    ]
    return [*_table(["µs", "flush", *columns], lines), "", *text]


def _memory(results: Results) -> list[str]:
    lines = []
    for system in rows.BROKERS:
        of = results.memory_mb(system, rows.MEMORY)
        cells = [_number(of.get(kind)) for kind in ("anonymous", "resident", "resident_peak")]
        lines.append([f"{NAMES[system]}, after the works above", rows.ASYNC, *cells])
    for system in rows.BROKERS:
        rounds = [one["result"] for one in results.all(system, rows.IDLE)]
        memory = [_median(rounds, f"server_{kind}_bytes") for kind in ("anonymous", "resident", "resident_peak")]
        cells = [_number(value and value / 1e6) for value in memory]
        lines.append([f"{NAMES[system]}, and {rows.IDLE_CONNECTIONS:,} idle connections", rows.ASYNC, *cells])
    text = "In each round's process. Resident memory has the pages of mapped files in it, which are the page cache's."
    return [*_table(["MB", "flush", "anonymous", "resident", "resident at most"], lines), "", text]


def _median(rounds: list[dict], name: str) -> float | None:
    values = [one[name] for one in rounds if one.get(name) is not None]
    return statistics.median(values) if values else None


def _curves(results: Results) -> list[str]:
    lines = []
    for curve in curves.CURVES:
        for point in results.curve(curve.name):
            memory = point["memory"]["anonymous"] / 1e6
            cells = [point["send"]["rate"], point["send"]["cpu_us"], point["pull"]["cpu_us"]]
            cells += [point.get("spread", {}).get("cpu_us"), memory, point["fill"].get("seconds")]
            lines.append([f"{point['x']:,.0f} {curve.title}", rows.ASYNC, *map(_number, cells)])
    head = [
        "the broker holds",
        "flush",
        "sends of 128 B a second",
        "µs of CPU a send",
        "µs a message pulled",
        "µs a send to all topics by turns",
        "anonymous MB",
        "seconds to fill",
    ]
    text = [
        "Sends and pulls are of one topic of 8 queues, but where it is said. Each kind has a broker of its own,",
        "filled further and further, which but for that of messages begins with more than a million messages.",
    ]
    return [*_table(head, lines), "", *text]


def _clients(results: Results) -> list[str]:
    lines = []
    for work in clients.WORKS:
        ours, java = (results.median(client, work.name) for client in clients.CLIENTS)
        cells = [_number(of.get(measure)) for measure in ("rate", "generator_cpu_us") for of in (ours, java)]
        ratio = _ratio(ours.get("rate"), java.get("rate"))
        lines.append([work.title, rows.ASYNC, *cells[:2], ratio, *cells[2:]])
    head = ["messages a second", "flush", "our client", "Java's client", "ours / Java's", "our CPU, µs", "Java's CPU, µs"]
    text = [
        "One producer or one push consumer with their defaults, in turn against the same broker of ours, which has a part",
        "of the two cores. CPU is that of the client's process for each message.",
    ]
    return [*_table(head, lines), "", *text] if lines else ["Not measured."]


def _failures(results: Results) -> list[str]:
    failures = results.failures()
    text = "A connection whose request failed waits 10 ms, so such a run is slower than the broker may be."
    if not failures:
        return ["None was refused or lost, warm-ups included."]
    lines = []
    for failure in failures:
        failed, good = failure.result["failures"], failure.result["requests"]
        share = f"{failed / max(failed + good, 1):.2%}"
        run = f"{NAMES.get(failure.system, NAMES['ours'])}, {failure.work}, round {failure.round}"
        first = failure.result.get("first_failure") or ""
        lines.append([run, sessions.refusals(failure.result), share, first])
    return [*_table(["run", "failed", "of its requests", "the first"], lines), "", text]


def _goals(results: Results) -> list[str]:
    lines = [_goal(results, goal) for goal in rows.GOALS]
    head = ["goal", "flush", NAMES["ours"], NAMES["java"], NAMES["bare"], "ratio", "met"]
    return [*_table(head, lines), "", *_growth(results), "", *NOT_SHOWN]


# Goals of another kind.
NOT_SHOWN = (
    "The bare server's figures are what this machine and the generator take at least.",
    "",
    "Not shown here: one flush a message with one in flight, and shared ones with many, which tests count",
    "(`store/tests/flushing.rs`), and memory over an hour of load, which is longer than a run.",
)


@dataclass(frozen=True)
class Judged:
    """A goal's row: what is compared, by system, and what the bound is for."""

    title: str
    flush: str
    values: dict[str, float | None]
    judged: float | None
    # What a curve begins with.
    first: float | None = None


def _goal(results: Results, goal: Goal) -> list[str]:
    row = _judge(results, goal)
    whose = f"{NAMES[goal.of]}'s" if goal.of in NAMES else f"that of {goal.of}, {_number(row.first)}"
    of = f" × {whose}" if goal.of else ""
    text = f"{row.title}: {MEASURES[goal.measure]}, {goal.relation} {_bound(goal.bound)}{of}"
    cells = [_number(row.values.get(system)) for system in rows.SYSTEMS]
    ratio = f"{row.judged:.2f} ×" if goal.of and row.judged is not None else ""
    met = "not measured" if row.judged is None else "yes" if goal.met(row.judged) else "**no**"
    return [text, row.flush, *cells, ratio, met]


def _judge(results: Results, goal: Goal) -> Judged:
    if goal.work == rows.MEMORY:
        values = {system: results.memory_mb(system, rows.MEMORY).get("anonymous") for system in rows.BROKERS}
        return Judged("after all works", rows.ASYNC, values, values["ours"])
    curve = next((curve for curve in curves.CURVES if curve.name == goal.work), None)
    if curve:
        return _judge_curve(results, goal, curve)
    work = next(work for work in rows.WORKS if work.name == goal.work)
    of = _measured(results, work, goal.measure)
    judged = of["ours"]
    if goal.of:
        judged = of["ours"] / of[goal.of] if of["ours"] and of[goal.of] else None
    return Judged(work.title, work.flush, of, judged)


def _judge_curve(results: Results, goal: Goal, curve: curves.Curve) -> Judged:
    points = results.curve(curve.name)
    title = f"{curve.steps[-1]:,} {curve.title}"
    if not points or points[-1]["x"] != curve.steps[-1]:
        return Judged(title, rows.ASYNC, {}, None)
    first, last = (point["send"][goal.measure] for point in (points[0], points[-1]))
    return Judged(title, rows.ASYNC, {"ours": last}, last / first if first else None, first)


def _growth(results: Results) -> list[str]:
    """The goal that the cost of a message does not grow with what the broker holds."""
    lines = [_grown(results, curve, kind) for curve in curves.CURVES for kind in ("send", "pull")]
    head = ["cost of a message", "flush", "µs of CPU", "ratio", "instructions", "ratio", "does not grow"]
    curve = f"[a curve](#{CURVES_ANCHOR})"
    text = [
        f"It grows if the last point of {curve} costs more than {rows.NO_GROWTH:g} × what the first does. Instructions",
        "repeat within a hundredth; CPU times do not: the plot shows how far the rounds are apart.",
    ]
    return [*_table(head, lines), "", *text]


def _grown(results: Results, curve: curves.Curve, kind: str) -> list[str]:
    measured = {point["x"]: point[kind]["cpu_us"] for point in results.curve(curve.name)}
    counted = {x: point[kind] for x, point in results.instructions(curve.name).items()}
    pairs = [[of.get(x) for x in (curve.steps[0], curve.steps[-1])] for of in (measured, counted)]
    ratios = [last / first if first and last else None for first, last in pairs]
    cells = []
    for (first, last), ratio in zip(pairs, ratios):
        cells += [f"{_number(first)} → {_number(last)}", f"{ratio:.2f} ×" if ratio else "–"]
    known = [ratio for ratio in ratios if ratio]
    met = "yes" if all(ratio <= rows.NO_GROWTH for ratio in known) else "**no**"
    title = f"{kind}, {curve.steps[0]:,} → {curve.steps[-1]:,} {curve.title}"
    return [title, rows.ASYNC, *cells, met if known else "not measured"]


def _instructions(results: Results) -> list[str]:
    lines = []
    for curve in curves.CURVES:
        for x, point in results.instructions(curve.name).items():
            cells = [f"{point[kind]:,}" for kind in ("send", "pull", "idle_per_s")]
            lines.append([f"{x:,} {curve.title}", rows.ASYNC, *cells])
    head = [
        "the broker holds",
        "flush",
        "instructions a send of 128 B",
        "a message pulled",
        "a second without a load",
    ]
    text = "Counted once, under callgrind, on one connection: what the broker does without a load is taken off."
    return [*_table(head, lines), "", text] if lines else ["Instructions were not counted."]


def _figure(figures: Path, name: str) -> str:
    return f"![{FIGURES[name]}]({figures.name}/{name})" if (figures / name).exists() else ""


def _method(results: Results, machine: dict) -> list[str]:
    others = results.worst_of_others()
    whole = ", ".join(f"{NAMES[system]} {count:,}" for system, count in results.whole("pull").items())
    memory_gb = machine["memory_bytes"] / 1e9
    heap = servers.JAVA_HEAP
    warm_up = sessions.warm_up_s("java", rows.ASYNC, machine["quick"])
    sync_warm_up = sessions.warm_up_s("java", rows.SYNC, machine["quick"])
    work_warm_up = sessions.WORK_WARM_UP_S["java"]
    paragraphs = [
        f"""- **Machine**: {machine["cpu"]}, {machine["cores"]} cores (hypervisor: {machine["hypervisor"]}),
        {memory_gb:.0f} GB of memory, Linux {machine["kernel"]}, {machine["disk"]}; an append of 4 KiB is durable
        (fdatasync) after {machine["fdatasync_p50_us"]} µs.""",
        f"""- **Versions**: {machine["rustc"]}, release build; {machine["java"]}.""",
        """- **Load**: 8 queues, JSON headers, a unique key a message, which is indexed. Generator and server share the
        cores; the generator's CPU is in the table above.""",
        f"""- **Java's broker**: Apache's jars from Maven Central, `-Xms{heap} -Xmx{heap}` and the G1 options of its
        runbroker.sh, without AlwaysPreTouch, which would count the whole heap as used; {warm_up} s of sends after its
        start ({sync_warm_up} s with {rows.SYNC}) and {work_warm_up} s before each work that don't count.""",
        """- **Both** have the same settings (defaults but for names, ports, `flushDiskType` and `diskMaxUsedSpaceRatio`)
        and our name server. A round starts each server once a flush mode, on a fresh store; works follow each other in
        one process; before each, everything dirty is written to the disk. Every second round goes backwards.""",
        f"""- **Beside it**: other processes and the kernel's own threads took at most
        {others["others_cpu_share"]:.0%} of the CPU during a work, the hypervisor {others["stolen_cpu_share"]:.0%}.""",
        f"""- **Checked**: every run that sends ends with a comparison of what was acknowledged with what is stored;
        every message pulled has to follow the one before; what is sent to a waiting consumer has to come exactly once;
        and after `pull` all of its topic is read once more, and what is received has to be what is stored
        ({whole or "not run"}). A run in which this fails is a measurement that failed.""",
        f"""- **Measurements that failed**: {"; ".join(results.failed) or "none"}.""",
    ]
    return [" ".join(paragraph.split()) for paragraph in paragraphs]
