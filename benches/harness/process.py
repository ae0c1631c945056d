"""Workers: processes that obey line by line. Those of a row live side by side, and one at a time works."""

import contextlib
import os
import select
import subprocess
import tempfile
import time

from . import environment


class Failed(Exception):
    """A worker's answer is missing; the reason is for the table."""


@contextlib.contextmanager
def pinned(threads):
    """Processes that are started within have so many processors.

    They inherit them. A function that is called in the new process would make the system copy this one first, which takes
    longer than a small network's start.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, environment.cpus(threads))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Worker:
    def __init__(self, name, command, threads, limit):
        self.name, self.limit = name, limit
        self.errors = tempfile.TemporaryFile()
        with pinned(threads):
            self.started = time.perf_counter()
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                env=environment.variables(threads),
            )
        self.rest = b""

    def ask(self, line):
        """The answer to a line.

        Raises Failed when the worker says that something went wrong, ends, or takes longer than the limit.
        """
        try:
            self.process.stdin.write(f"{line}\n".encode())
            self.process.stdin.flush()
        except OSError:
            raise Failed(self.last_words()) from None
        answer = self.read_line(time.perf_counter() + self.limit, line)
        if answer.startswith("error "):
            raise Failed(answer.removeprefix("error "))
        return answer

    def read_line(self, deadline, line):
        stdout = self.process.stdout.fileno()
        while b"\n" not in self.rest:
            left = deadline - time.perf_counter()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                self.stop()
                raise Failed(f"`{line}` took more than {self.limit:g} s")
            part = os.read(stdout, 1 << 16)
            if not part:
                raise Failed(self.last_words())
            self.rest += part
        answer, self.rest = self.rest.split(b"\n", 1)
        return answer.decode()

    def last_words(self):
        self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with status {self.process.returncode}"

    def cpu_seconds(self):
        """That the process has taken so far, or None where the system does not tell."""
        try:
            with open(f"/proc/{self.process.pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()


class Workshop:
    """Starts workers on a row's folder."""

    def __init__(self, netc, python, limit):
        self.netc, self.python, self.limit = netc, python, limit

    def start(self, name, folder, threads):
        if name == "netc":
            return Worker(name, [self.netc, "worker", folder], threads, self.limit)
        script = environment.ROOT / "benches" / "peers" / "worker.py"
        return Worker(name, [self.python, script, name, folder], threads, self.limit)

    def limits(self, threads):
        """The machine's operations and bytes a second."""
        command = [str(self.netc), "limits", str(threads)]
        with pinned(threads):
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        operations, read = (float(word) for word in output.split())
        return {"operations_per_second": operations, "bytes_per_second": read}
