"""What a row's folder holds: weights and arrays."""

import numpy as np


def weights(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "weights.safetensors")


def arrays(task, folder):
    """Inputs and targets by name; sequences with their steps first."""
    names = [name for name, port in task["ports"].items() if task["entry"] != "forward" or not port["target"]]
    loaded = {name: np.load(folder / f"{name}.npy") for name in names}
    return {name: steps_first(array, task) for name, array in loaded.items()}


def steps_first(array, task):
    """`[batch, steps, …]` to `[steps, batch, …]` and back."""
    return np.ascontiguousarray(np.swapaxes(array, 0, 1)) if task["is_sequence"] else array
