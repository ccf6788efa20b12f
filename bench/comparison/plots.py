"""The figures. Runs with matplotlib, which `bench/run` installs in target/bench/venv:

python -m comparison.plots RESULTS OUT
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
# Text stays text, and the same results give the same file.
matplotlib.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "thrustmq",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
    }
)

from matplotlib import pyplot

from comparison import curves, rows
from comparison.results import Results

NAMES = {"ours": "ThrustMQ", "java": "Java 5.5.0", "bare": "bare server,\nnever flushed"}
COLOURS = {"ours": "#1f6fc4", "java": "#d9772b", "bare": "#9a9a9a"}
PERCENTILES = {"p50_us": "p50", "p99_us": "p99", "p999_us": "p99.9"}
# What a point of a curve is made of.
CURVE_LINES = {
    "send": ("send", COLOURS["ours"]),
    "spread": ("send, to all topics by turns", "#8a5fc4"),
    "pull": ("pull", "#2b9a66"),
}
COLUMNS = 2


def main():
    results, out = Results(Path(sys.argv[1])), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    _bars(results, "rate", "messages a second (more is better)", out / "throughput.svg", paced=False)
    _bars(results, "cpu_us", "µs of the server's CPU a message (less is better)", out / "cpu.svg", paced=True)
    _latencies(results, out / "latency.svg")
    _curves(results, out / "curves.svg")
    _instructions(results, out / "instructions.svg")


def _bars(results: Results, measure: str, title: str, path: Path, paced: bool):
    works = [work for work in rows.WORKS if work.is_load and (paced or not work.paced)]
    works = [work for work in works if any(measure in results.median(system, work.name) for system in work.systems)]
    if not works:
        return
    figure, panels = _panels(len(works), 1.45, title)
    for panel, work in zip(panels, works):
        systems = [system for system in work.systems if measure in results.median(system, work.name)]
        values = [results.median(system, work.name)[measure] for system in systems]
        bars = panel.barh(
            [NAMES[system] for system in systems], values, color=[COLOURS[one] for one in systems], height=0.7
        )
        panel.bar_label(bars, [_number(value) for value in values], padding=3)
        panel.set_title(f"{work.title}\n{work.flush}")
        panel.invert_yaxis()
        panel.set_xlim(0, max(values) * 1.25)
        panel.set_xticks([])
        panel.spines["bottom"].set_visible(False)
        panel.tick_params(left=False)
    _save(figure, path)


def _latencies(results: Results, path: Path):
    """Percentiles of what is sent at a given rate, on a logarithmic scale."""
    wanted = [("open-5000", "", "send, open loop"), ("end-to-end", "received_", "send to receive, long poll")]
    wanted = [one for one in wanted if results.all("ours", one[0])]
    if not wanted:
        return
    figure, panels = _panels(len(wanted), 3.2, "latency at 5,000 messages a second of 1 KB (less is better)")
    for panel, (name, prefix, title) in zip(panels, wanted):
        for system, above in (("ours", -14), ("java", 6), ("bare", -14)):
            medians = results.median(system, name)
            points = [
                (label, medians[prefix + key] / 1000) for key, label in PERCENTILES.items() if prefix + key in medians
            ]
            if not points:
                continue
            labels, values = zip(*points)
            panel.plot(labels, values, marker="o", color=COLOURS[system], label=NAMES[system])
            for label, value in points:
                panel.annotate(f"{value:.2g} ms", (label, value), (0, above), textcoords="offset points", ha="center")
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_ylabel("ms")
        panel.margins(x=0.15, y=0.2)
        panel.set_title(f"{title}\n{rows.ASYNC}")
        panel.legend(frameon=False)
    _save(figure, path)


def _curves(results: Results, path: Path):
    """Every round's points, and a line through their medians."""
    wanted = [curve for curve in curves.CURVES if results.all("curves", curve.name)]
    if not wanted:
        return
    figure, panels = _panels(len(wanted), 2.6, "µs of ThrustMQ's CPU a message, 128 B, " + rows.ASYNC)
    for panel, curve in zip(panels, wanted):
        medians = results.curve(curve.name)
        for kind, (label, colour) in CURVE_LINES.items():
            for one in results.all("curves", curve.name):
                costs = [point[kind]["server_cpu_us_per_message"] for point in one["points"] if kind in point]
                panel.plot(range(len(costs)), costs, ".", color=colour, alpha=0.4)
            costs = [point[kind]["cpu_us"] for point in medians if kind in point]
            if costs:
                panel.plot(range(len(costs)), costs, color=colour, label=label)
        panel.set_xticks(range(len(medians)), [f"{point['x']:,}" for point in medians])
        panel.set_ylim(bottom=0)
        panel.set_title(curve.title)
        panel.legend(frameon=False)
    _save(figure, path)


def _instructions(results: Results, path: Path):
    wanted = [curve for curve in curves.CURVES if results.instructions(curve.name)]
    if not wanted:
        return
    figure, panels = _panels(len(wanted), 2.6, "instructions of ThrustMQ a message, 128 B, " + rows.ASYNC)
    for panel, curve in zip(panels, wanted):
        points = results.instructions(curve.name)
        for kind in ("send", "pull"):
            label, colour = CURVE_LINES[kind]
            counts = [point[kind] for point in points.values()]
            panel.plot(range(len(counts)), counts, marker=".", color=colour, label=label)
        panel.set_xticks(range(len(points)), [f"{x:,}" for x in points])
        panel.yaxis.set_major_formatter("{x:,.0f}")
        panel.set_ylim(bottom=0)
        panel.set_title(curve.title)
        panel.legend(frameon=False)
    _save(figure, path)


def _panels(count: int, height: float, title: str):
    lines = -(-count // COLUMNS)
    figure, grid = pyplot.subplots(
        lines, COLUMNS, figsize=(9, height * lines + 0.6), squeeze=False, layout="constrained"
    )
    panels = list(grid.flat)
    for panel in panels[count:]:
        panel.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure, panels[:count]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _save(figure, path: Path):
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    pyplot.close(figure)


if __name__ == "__main__":
    main()
