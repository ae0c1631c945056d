"""From the start of a process to its first result, and memory: two small tables."""

import pathlib
import statistics
import tempfile
import time

from . import environment, folder, table
from .measure import PAUSE, scratch
from .process import Failed
from .rows import chosen

# Row, title, seconds at most, peers.
STARTS = [
    ("vgg16_b1", "VGG-16 forward, batch 1", 0.6, ("torch", "onnxruntime", "openvino", "jax")),
    ("lstm_b1", "LSTM forward, batch 1", 0.01, ("torch", "onnxruntime", "openvino", "jax")),
]
# Row, title, megabytes at most, peers.
MEMORY = [
    ("vgg16_b1", "VGG-16 forward, batch 1", 850, ("torch", "onnxruntime", "openvino", "jax")),
    ("vgg16_train_b8", "VGG-16 training step, batch 8", 2400, ("torch", "torch channels-last", "jax")),
]


def measure(threads, workshop, rounds, say):
    """Seconds and bytes of each system, as plain data."""
    tables = {"start": [], "memory": []}
    for kind, of_kind, take, n in (("start", STARTS, start, rounds), ("memory", MEMORY, memory, 1)):
        for name, title, bar, peers in of_kind:
            [row] = chosen([name])
            result = {"row": name, "title": title, "threads": threads, "bar": bar, "systems": {}, "missing": {}}
            with tempfile.TemporaryDirectory(prefix=f"{kind}-{name}-", dir=scratch()) as path:
                path = pathlib.Path(path)
                folder.fill(path, row, threads, environment.ROOT, workshop)
                for system in ("netc", *peers):
                    say(f"{kind} of {row.name}, {threads} thread(s): {system}")
                    try:
                        prepare(system, path, threads, workshop)
                        # The first round brings the files to the system's cache.
                        taken = [take(system, path, threads, workshop) for _ in range(n + (kind == "start"))]
                        result["systems"][system] = taken[1:] if kind == "start" else taken[0]
                    except Failed as failure:
                        result["missing"][system] = str(failure)
            tables[kind].append(result)
    return tables


def prepare(system, path, threads, workshop):
    if system in ("onnxruntime", "openvino"):
        maker = workshop.start(system, path, threads)
        try:
            maker.ask("prepare")
        finally:
            maker.stop()


def start(system, path, threads, workshop):
    """Seconds from the process's start, over reading the network and its weights, to the first result."""
    time.sleep(PAUSE)
    worker = workshop.start(system, path, threads)
    try:
        worker.ask("load")
        worker.ask("run 1")
        return time.perf_counter() - worker.started
    finally:
        worker.stop()


def memory(system, path, threads, workshop):
    """Bytes of resident memory after three calls: the most there were, and now."""
    worker = workshop.start(system, path, threads)
    try:
        worker.ask("load")
        worker.ask("run 3")
        most, now = worker.ask("memory").split()
        return {"most": int(most), "now": int(now)}
    finally:
        worker.stop()


def show(tables):
    """Both tables as text."""
    texts = []
    for kind, unit, heading, form, value in (
        ("start", "s", "From the start of the process to the first result, seconds", "{:.3g}", statistics.median),
        ("memory", "MB", "Largest resident memory of the process, weights read from disk, MB", "{:.0f}",
         lambda taken: taken["most"] / 1e6),
    ):
        names = list(dict.fromkeys(name for r in tables[kind] for name in (*r["systems"], *r["missing"])))
        lines = []
        for result in tables[kind]:
            figures = {name: value(taken) for name, taken in result["systems"].items()}
            met = table.verdict(figures["netc"] <= result["bar"] if "netc" in figures else None)
            cells = [form.format(figures[name]) if name in figures else "-" for name in names]
            lines.append([result["title"], str(result["threads"]), f"{result['bar']:g}", met, *cells])
        texts.append(f"{heading}\n\n" + table.aligned(["row", "threads", f"bar {unit}", "", *names], lines))
    return "\n\n".join(texts)
