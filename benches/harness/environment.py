"""What must be there before anything is measured: the peers' packages, netc's worker, CPUs to run on."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
REQUIREMENTS = ROOT / "benches" / "requirements.txt"


def python_with_peers(given):
    """The interpreter that has the peers: the given one, or that of an environment which is made here."""
    given = given or os.environ.get("NETC_BENCH_PYTHON")
    if given:
        return pathlib.Path(given).absolute()
    folder = TARGET / "peers"
    python, done = folder / "bin" / "python", folder / "requirements.txt"
    if not done.exists() or done.read_text() != REQUIREMENTS.read_text():
        print(f"installing the peers to {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)], check=True)
        done.write_text(REQUIREMENTS.read_text())
    return python


def build_netc():
    """The optimized worker, `benches/row`."""
    command = ["cargo", "bench", "--bench", "row", "--no-run", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        raise SystemExit("netc's worker cannot be built")
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    found = [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "row"]
    return pathlib.Path(found[-1])


def cpus(threads):
    """The last CPUs: the system's own work is more often on the first."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if len(allowed) < threads:
        raise SystemExit(f"{threads} threads are asked for, but there are {len(allowed)} CPUs")
    return allowed[-threads:]


def variables(threads):
    """Every library is told how many threads there are."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    environment = os.environ | {name: str(threads) for name in names}
    if threads == 1:
        flags = environment.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
        environment["XLA_FLAGS"] = flags.strip()
    environment["JAX_PLATFORMS"] = "cpu"
    return environment


def processor():
    """Its name, as the system has it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
