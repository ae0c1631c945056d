"""A row's folder: the task, netc's initial weights, inputs and targets, which all systems read."""

import json
import zlib

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file


def fill(folder, row, threads, root, workshop):
    """Writes all of it but what a system prepares for itself."""
    write_task(folder, row, threads, root)
    # The same arrays whichever rows are measured.
    random = np.random.default_rng(zlib.crc32(row.network.encode()))
    for name, (shape, vocabulary) in row.ports.items():
        if vocabulary is None:
            array = random.standard_normal(shape, dtype=np.float32)
        else:
            array = random.integers(0, vocabulary, shape, dtype=np.int32)
        np.save(folder / f"{name}.npy", array)
    worker = workshop.start("netc", folder, threads)
    try:
        worker.ask("weights")
    finally:
        worker.stop()
    disturb(folder / "weights.safetensors", random)


def write_task(folder, row, threads, root):
    (folder / "task.json").write_text(json.dumps(row.task(root, threads)))


def disturb(path, random):
    """Gives vectors that begin with zeros (biases, peepholes) values, so that one in a wrong place is seen."""
    with safe_open(path, "np") as file:
        metadata, weights = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    for name, value in weights.items():
        if value.ndim == 1 and not value.any():
            weights[name] = random.uniform(-0.1, 0.1, value.shape).astype(np.float32)
    save_file(weights, path, metadata)
