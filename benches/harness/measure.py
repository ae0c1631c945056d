"""One row: the systems load it, what they compute is compared, and then they run in turns."""

import os
import pathlib
import statistics
import tempfile
import time

from . import agree, environment, folder
from .process import Failed

# Thread pools spin a little after a call: the next system waits for that to end.
PAUSE = 0.05
MOST_CALLS = 500


def measure(row, threads, workshop, options, say):
    """The row's figures as plain data, for the table and for JSON."""
    peers = row.peers + (("torch compiled",) if options.compile else ())
    result = {"row": row.name, "title": row.title, "threads": threads, "bar": row.bar, "operations": row.operations}
    result |= {"systems": {}, "missing": {}, "errors": {}}
    tell = lambda text: say(f"{row.name}, {threads} thread(s): {text}")
    with tempfile.TemporaryDirectory(prefix=f"{row.name}-", dir=scratch()) as path:
        path, workers = pathlib.Path(path), {}
        try:
            folder.fill(path, row, threads, environment.ROOT, workshop)
            for name in ("netc", *peers):
                tell(f"{name} loads")
                attempt(name, workers, result, lambda: ready(name, path, threads, workshop, workers))
            if "netc" in workers:
                check(path, workers, result)
                result["counted_operations"] = float(workers["netc"].ask("operations"))
                result["systems"] = take_turns(workers, threads, result, options, tell)
        except Failed as failure:
            result["missing"]["netc"] = str(failure)
        finally:
            for worker in workers.values():
                worker.stop()
    return result


def scratch():
    path = environment.TARGET / "benches"
    path.mkdir(parents=True, exist_ok=True)
    return path


def attempt(name, workers, result, action):
    """A system that fails is a missing figure, and the others go on."""
    try:
        return action()
    except Failed as failure:
        drop(name, workers, result, str(failure))
        return None


def drop(name, workers, result, reason):
    worker = workers.pop(name, None)
    if worker:
        worker.stop()
    result["missing"][name] = reason


def ready(name, path, threads, workshop, workers):
    """A worker that has loaded the row and written its results."""
    if name in ("onnxruntime", "openvino"):
        maker = workshop.start(name, path, threads)
        try:
            maker.ask("prepare")
        finally:
            maker.stop()
    worker = workers[name] = workshop.start(name, path, threads)
    worker.ask("load")
    worker.ask("compare")


def check(path, workers, result):
    """Drops the peers whose results are not netc's."""
    for name in [name for name in workers if name != "netc"]:
        errors, problems = agree.compare(path / "netc.npz", path / f"{name}.npz")
        result["errors"][name] = errors
        if problems:
            more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
            drop(name, workers, result, f"its results differ from netc's: {problems[0]}{more}")


def take_turns(workers, threads, result, options, say):
    verb = "cpu" if options.cpu and threads == 1 else "run"
    calls = {}
    for name in list(workers):
        calls[name] = attempt(name, workers, result, lambda: calls_per_turn(workers[name], options.seconds))
    times, foreign = {name: [] for name in workers}, {name: [] for name in workers}
    for turn in range(options.rounds):
        say(f"round {turn + 1} of {options.rounds}")
        # Nobody is always the first.
        names = list(workers)
        for name in names[turn % len(names):] + names[: turn % len(names)]:
            time.sleep(PAUSE)
            before, seconds = busy(threads), workers[name].cpu_seconds()
            answer = attempt(name, workers, result, lambda: workers[name].ask(f"{verb} {calls[name]}"))
            if answer is None:
                continue
            times[name].append([float(word) for word in answer.split()])
            after = busy(threads)
            if None not in (before, after, seconds):
                own, all_of_us = workers[name].cpu_seconds() - seconds, after - before
                foreign[name].append(max(0.0, all_of_us - own) / max(all_of_us, 1e-9))
    return {name: summary(times[name], foreign[name]) for name in workers}


def calls_per_turn(worker, seconds):
    """As many as fill a turn; the calls that tell warm up as well."""
    worker.ask("run 1")
    milliseconds = statistics.median(float(word) for word in worker.ask("run 2").split())
    return max(1, min(MOST_CALLS, round(seconds * 1e3 / milliseconds)))


def busy(threads):
    """Seconds that the CPUs in use have worked for anybody, or None where the system does not tell."""
    try:
        with open("/proc/stat") as file:
            lines = [line.split() for line in file if line.startswith("cpu")]
    except OSError:
        return None
    ticks = {name: [int(word) for word in words] for name, *words in lines}
    # user, nice, system, idle, iowait, irq, softirq, steal: all but the two that are idle.
    worked = (sum(ticks[f"cpu{cpu}"][:8]) - sum(ticks[f"cpu{cpu}"][3:5]) for cpu in environment.cpus(threads))
    return sum(worked) / os.sysconf("SC_CLK_TCK")


def summary(turns, foreign):
    times = sorted(t for turn in turns for t in turn)
    low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
    return {
        "median_ms": statistics.median(times),
        "quartiles_ms": [low, high],
        "least_ms": times[0],
        "calls": len(times),
        # The part of the CPUs' time that others took meanwhile.
        "foreign": statistics.median(foreign) if foreign else None,
        "turns_ms": turns,
    }
