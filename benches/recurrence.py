"""Times recurrent layers beside PyTorch and JAX, in one run, alternating.

    python -m venv peers-home && peers-home/bin/pip install numpy torch jax
    cargo build --release --benches
    peers-home/bin/python benches/recurrence.py [threads] [cell ...]

One layer, input 128, hidden 256, 100 steps, except charlm's training step (two LSTM layers of 512, batch 50, window 50)
and conv_lstm (64 channels, 3x3, 32x32, 10 steps, batch 4). Prints medians of the rounds and the ratio to the best peer.
The machine may be shared: only figures of one run compare.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parent.parent
ROUNDS = 5
CALLS = {"1": 20, "32": 6, "50": 3, "4": 3}


def torch_cell(torch, cell):
    nn = torch.nn
    if cell == "lstm":
        return nn.LSTM(128, 256)
    if cell == "gru":
        return nn.GRU(128, 256)
    if cell == "rnn":
        return nn.RNN(128, 256)

    class Own(nn.Module):
        """The MGU and the peephole LSTM, their input's part computed for all steps at once."""

        def __init__(self):
            super().__init__()
            gates = 2 if cell == "mgu" else 4
            self.x = nn.Linear(128, gates * 256)
            self.u = nn.Linear(256, 256 if cell == "mgu" else 1024, bias=False)
            self.r = nn.Linear(256, 256, bias=False)
            self.p = nn.Parameter(torch.zeros(3, 256))

        def forward(self, xs):
            h = c = xs.new_zeros(xs.shape[1], 256)
            out = []
            for g in self.x(xs).unbind(0):
                if cell == "mgu":
                    a, b = g.chunk(2, -1)
                    f = torch.sigmoid(a + self.u(h))
                    h = (1 - f) * h + f * torch.tanh(b + self.r(f * h))
                else:
                    i, f, o, z = (g + self.u(h)).chunk(4, -1)
                    c = torch.sigmoid(f + self.p[1] * c) * c + torch.sigmoid(i + self.p[0] * c) * torch.tanh(z)
                    h = torch.sigmoid(o + self.p[2] * c) * torch.tanh(c)
                out.append(h)
            return torch.stack(out)

    return Own()


def torch_worker(cell, batch, what, threads, calls):
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    if cell == "charlm":
        embed, lstm, head = torch.nn.Embedding(65, 64), torch.nn.LSTM(64, 512, 2), torch.nn.Linear(512, 65)
        parameters = [p for layer in (embed, lstm, head) for p in layer.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=2e-3)
        x, y = torch.randint(65, (50, batch)), torch.randint(65, (50, batch))

        def run():
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(head(lstm(embed(x))[0]).flatten(0, 1), y.flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
    else:
        layer = torch_cell(torch, cell)
        x, target = torch.randn(100, batch, 128), torch.randn(100, batch, 256)

        def value(result):
            return result[0] if isinstance(result, tuple) else result

        if what == "forward":

            def run():
                with torch.no_grad():
                    layer(x)
        else:

            def run():
                layer.zero_grad()
                ((value(layer(x)) - target) ** 2).mean().backward()

    return timed(run, calls)


def jax_worker(cell, batch, what, threads, calls):
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    import jax
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(0)
    array = lambda *s: jnp.asarray(rng.uniform(-0.06, 0.06, s).astype(np.float32))
    gates = {"lstm": 4, "gru": 3, "rnn": 1, "mgu": 2, "peephole": 4}[cell]
    P = dict(W=array(128, gates * 256), b=array(gates * 256), U=array(256, gates * 256), d=array(gates * 256))
    P |= dict(R=array(256, 256), p=array(3, 256))
    x, target = array(100, batch, 128), array(100, batch, 256)
    s, t = jax.nn.sigmoid, jnp.tanh

    def apply(P, x):
        def step(state, g):
            h, c = state
            if cell in ("lstm", "peephole"):
                i, f, z, o = jnp.split(g + h @ P["U"], 4, -1)
                p = P["p"] if cell == "peephole" else jnp.zeros((3, 256))
                c = s(f + p[0] * c) * c + s(i + p[1] * c) * t(z)
                h = s(o + p[2] * c) * t(c)
            elif cell == "gru":
                r, u, n = jnp.split(g, 3, -1)
                hr, hu, hn = jnp.split(h @ P["U"] + P["d"], 3, -1)
                r, u = s(r + hr), s(u + hu)
                h = (1 - u) * t(n + r * hn) + u * h
            elif cell == "rnn":
                h = t(g + h @ P["U"])
            else:
                a, b = jnp.split(g, 2, -1)
                f = s(a + h @ P["U"][:, :256])
                h = (1 - f) * h + f * t(b + (f * h) @ P["R"])
            return (h, c), h

        zero = jnp.zeros((x.shape[1], 256))
        return jax.lax.scan(step, (zero, zero), x @ P["W"] + P["b"])[1]

    if what == "forward":
        f = jax.jit(apply)
    else:
        f = jax.jit(jax.grad(lambda P, x: ((apply(P, x) - target) ** 2).mean()))
    return timed(lambda: jax.block_until_ready(f(P, x)), calls)


def timed(run, calls):
    for _ in range(2):
        run()
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def spawn(command, threads):
    pin = ["taskset", "-c", "1"] if threads == 1 else []
    result = subprocess.run(pin + command, capture_output=True, text=True, cwd=ROOT)
    return float(result.stdout.split()[-1]) if result.returncode == 0 else None


def main():
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    cells = sys.argv[2:] or ["lstm", "gru", "rnn", "mgu", "peephole", "charlm"]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    candidates = target.glob("release/deps/recurrence-*")
    binary = max((p for p in candidates if p.suffix == ""), key=lambda p: p.stat().st_mtime)
    print(f"{'':34}{'netc':>9}{'torch':>9}{'jax':>9}   ratio to the best")
    for cell in cells:
        rows = [("50", "train")] if cell == "charlm" else [(b, w) for b in ("1", "32") for w in ("forward", "gradients")]
        for batch, what in rows:
            calls = CALLS[batch]
            times = {"netc": [], "torch": [], "jax": []}
            for _ in range(ROUNDS):
                times["netc"].append(spawn([str(binary), cell, batch, str(threads), what, str(calls)], threads))
                for peer in ("torch", "jax"):
                    if peer == "jax" and cell == "charlm":
                        continue
                    command = [sys.executable, __file__, "worker", peer, cell, batch, what, str(threads), str(calls)]
                    times[peer].append(spawn(command, threads))
            medians = {}
            for name, values in times.items():
                known = [value for value in values if value is not None]
                medians[name] = statistics.median(known) if known else float("inf")
            best = min(medians["torch"], medians["jax"])
            row = "".join(f"{medians[name]:9.2f}" for name in ("netc", "torch", "jax"))
            name = f"{cell} b{batch} {what}, {threads} thread(s)"
            print(f"{name:34}{row}   {medians['netc'] / best:.2f}", flush=True)


if len(sys.argv) > 1 and sys.argv[1] == "worker":
    peer, cell, batch, what, threads, calls = sys.argv[2:]
    worker = torch_worker if peer == "torch" else jax_worker
    print(worker(cell, int(batch), what, int(threads), int(calls)))
else:
    main()
