"""A process that runs one row in one system, and obeys `compare.py` line by line as netc's worker does.

    python worker.py SYSTEM FOLDER

The lines and their answers are those of `benches/row/worker.rs`; `prepare` makes what a system wants to find on disk.
"""

import importlib
import json
import os
import pathlib
import sys
import time

SYSTEMS = {
    "torch": ("torch_peer", "eager"),
    "torch channels-last": ("torch_peer", "channels_last"),
    "torch compiled": ("torch_peer", "compiled"),
    "jax": ("jax_peer", "jit"),
    "jax unrolled": ("jax_peer", "unrolled"),
    "onnxruntime": ("onnx_peer", "onnxruntime"),
    "openvino": ("onnx_peer", "openvino"),
}


def answer(system, folder, line):
    verb, _, count = line.partition(" ")
    if verb == "prepare":
        system.prepare()
    elif verb == "load":
        system.load()
    elif verb == "compare":
        import numpy

        numpy.savez(folder / f"{sys.argv[1]}.npz", **system.results())
    elif verb in ("run", "cpu"):
        clock = time.perf_counter if verb == "run" else time.process_time
        return " ".join(f"{t:.5f}" for t in (timed(system.call, clock) for _ in range(int(count))))
    elif verb == "memory":
        status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
        return " ".join(str(int(status[key].split()[0]) * 1024) for key in ("VmHWM", "VmRSS"))
    else:
        raise ValueError(f"`{verb}` is no command")
    return "ok"


def timed(call, clock):
    start = clock()
    call()
    return (clock() - start) * 1e3


def main():
    # What libraries print goes to the standard error.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    task = json.loads((folder / "task.json").read_text())
    module, mode = SYSTEMS[name]
    system = importlib.import_module(module).System(task, folder, mode)
    for line in sys.stdin:
        try:
            reply = answer(system, folder, line.strip())
        except Exception as error:  # Whatever it is, the table says so and goes on.
            reply = f"error {type(error).__name__}: {error}".replace("\n", " ")
        print(reply, file=out, flush=True)


main()
