#!/usr/bin/env python3
"""Measures netc beside PyTorch, ONNX Runtime, OpenVINO and JAX, side by side in one run. README.md says how."""

import argparse
import json
import os
import pathlib
import signal
import sys

from harness import environment


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="*", help="names of rows, with wildcards: lstm_*,vgg16_b1 [all]")
    parser.add_argument("--threads", default="1,2", help="numbers of threads [1,2]")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each system [9]")
    parser.add_argument("--seconds", type=float, default=0.4, help="of one turn, at least one call [0.4]")
    parser.add_argument("--quick", action="store_true", help="3 rounds of turns of 0.15 s, for a first look")
    cpu = "CPU time in place of the clock's, at one thread: for a busy machine"
    parser.add_argument("--cpu", action="store_true", help=cpu)
    parser.add_argument("--limit", type=float, default=300, help="seconds for a system to load, or for a turn [300]")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well, which takes minutes")
    parser.add_argument("--only", choices=["rows", "small"], help="the table of rows, or those of start and memory")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="writes all figures")
    parser.add_argument("--python", help="an interpreter that has the peers [one is made; $NETC_BENCH_PYTHON]")
    parser.add_argument("--list", action="store_true", help="prints the names of the rows")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 3, 0.15
    options.threads = [int(word) for word in options.threads.split(",")]
    return options


def say(text):
    print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n", file=sys.stderr)
    sys.stderr.flush()


def main():
    options = arguments()
    from harness.rows import ROWS, chosen

    if options.list:
        print("\n".join(row.name for row in ROWS))
        return
    rows = chosen(options.rows.split(","))
    # Ends the workers too, and clears their folders.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    python = environment.python_with_peers(options.python)
    if pathlib.Path(sys.executable).absolute() != python:
        # The peers' arrays are compared with their own numpy.
        os.execv(python, [str(python), *sys.argv, "--python", str(python)])
    from harness import measure, small, table
    from harness.process import Workshop

    workshop = Workshop(environment.build_netc(), python, options.limit)
    document = {"version": 1, "processor": environment.processor(), "packages": packages(), "limits": {}}
    document |= {"rounds": options.rounds, "cpu_time": options.cpu, "seconds": options.seconds, "rows": []}
    for threads in options.threads:
        say(f"the machine's limits, {threads} thread(s)")
        document["limits"][str(threads)] = workshop.limits(threads)
    for row in rows if options.only != "small" else ():
        for threads in options.threads:
            result = measure.measure(row, threads, workshop, options, say)
            document["rows"].append(table.judged(result, document["limits"][str(threads)]))
            write(options.json, document)
    if options.only == "small" or (options.only is None and options.rows == "*"):
        document["small"] = small.measure(max(options.threads), workshop, options.rounds, say)
        write(options.json, document)
    say("")
    report(document, table, small)


def packages():
    from importlib.metadata import version

    lines = environment.REQUIREMENTS.read_text().split()
    return {name: version(name) for name in (line.split("==")[0] for line in lines)}


def write(path, document):
    """After every row: what is measured is not lost when something ends the run."""
    if path:
        path.write_text(json.dumps(document, indent=1) + "\n")


def report(document, table, small):
    packages = (f"{name} {version}" for name, version in document["packages"].items())
    print(f"{document['processor']}; {', '.join(packages)}")
    for threads, limits in document["limits"].items():
        operations, read = limits["operations_per_second"] / 1e9, limits["bytes_per_second"] / 1e9
        print(f"{threads} thread(s): {operations:.1f} GFLOP/s of multiply-adds, {read:.1f} GB/s read from memory")
    rows = document["rows"]
    if rows:
        clock = ", CPU time at one thread" if document["cpu_time"] else ""
        print(f"\nMedians (quartiles) of calls in {document['rounds']} rounds{clock}\n\n{table.rows(rows)}")
        print(f"\nAll systems, medians in ms\n\n{table.all_systems(rows)}")
        print(f"\nLargest errors: {table.agreement(rows)}")
        foreign = [figures["foreign"] for row in rows for figures in row["systems"].values()]
        n = sum(share is not None and share > 0.05 for share in foreign)
        if n > 0:
            print(f"Others took more than 5% of the CPUs beside {n} of {len(foreign)} figures.")
    if "small" in document:
        print(f"\n{small.show(document['small'])}")
    lines = table.missing([*rows, *(row for rows in document.get("small", {}).values() for row in rows)])
    if lines:
        print(f"\nMissing figures\n\n{lines}")


if __name__ == "__main__":
    main()
