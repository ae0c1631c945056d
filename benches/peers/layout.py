"""netc's recurrent weights as peers want them, and gradients back: the gates' matrices joined, in PyTorch's order.

netc keeps a matrix `[hidden, in + hidden]` and a bias for each gate. Joined, a layer at `path` has

    path/x [gates * hidden, in]      path/h [gates * hidden, hidden]      path/b [gates * hidden]

and what its kind has beside them. Convolutional cells have windows behind the two sizes.
"""

import numpy as np

# In the order of PyTorch, ONNX's is another (`onnx_graph.py`). The peephole LSTM calls its candidate `c`.
GATES = {"lstm": "ifgo", "peephole": "ifco", "conv_lstm": "ifgo", "rnn": "h"}


def join(weights, path, kind):
    """Of netc's weights at `path`, the joined ones."""
    at = lambda name: weights[f"{path}.{name}"]
    if kind == "mgu":
        joined = {"x": cat(at("W"), at("V")), "h": at("U"), "r": at("R"), "b": cat(at("b"), at("d"))}
    elif kind == "gru":
        # PyTorch's update gate keeps what netc's replaces: z there is 1 - z here, sigmoid(-a).
        n = at("candidate.weight").shape[1]
        r, z = at("r.weight"), -at("z.weight")
        joined = {
            "x": cat(r[:, :n], z[:, :n], at("candidate.weight")),
            "h": cat(r[:, n:], z[:, n:], at("recurrent.weight")),
            "b": cat(at("r.bias"), -at("z.bias"), at("candidate.bias")),
            "bh": at("recurrent.bias"),
        }
    else:
        matrices = [at(f"{gate}.weight") for gate in GATES[kind]]
        n = matrices[0].shape[1] - matrices[0].shape[0]
        joined = {
            "x": cat(*[matrix[:, :n] for matrix in matrices]),
            "h": cat(*[matrix[:, n:] for matrix in matrices]),
            "b": cat(*[at(f"{gate}.bias") for gate in GATES[kind]]),
        }
        if kind == "peephole":
            joined["p"] = np.stack([at("pi"), at("pf"), at("po")])
    return {f"{path}/{name}": np.ascontiguousarray(value) for name, value in joined.items()}


def split(joined, path, kind):
    """The way back, for gradients."""
    at = lambda name: joined[f"{path}/{name}"]
    if kind == "mgu":
        (w, v), (b, d) = parts_of(at("x"), 2), parts_of(at("b"), 2)
        parts = {"W": w, "V": v, "U": at("h"), "R": at("r"), "b": b, "d": d}
    elif kind == "gru":
        (rx, zx, nx), (rh, zh, nh), (rb, zb, nb) = (parts_of(at(name), 3) for name in "xhb")
        parts = {"r.weight": cat(rx, rh, axis=1), "z.weight": -cat(zx, zh, axis=1), "r.bias": rb, "z.bias": -zb}
        parts |= {"candidate.weight": nx, "candidate.bias": nb, "recurrent.weight": nh, "recurrent.bias": at("bh")}
    else:
        parts, gates = {}, GATES[kind]
        for gate, x, h, b in zip(gates, *(parts_of(at(name), len(gates)) for name in "xhb")):
            parts |= {f"{gate}.weight": cat(x, h, axis=1), f"{gate}.bias": b}
        if kind == "peephole":
            parts |= dict(zip(("pi", "pf", "po"), at("p")))
    return {f"{path}.{name}": value for name, value in parts.items()}


def join_all(weights, recurrent):
    """Of a network's weights, those of its recurrent layers joined; the others as they are."""
    of_layers = tuple(f"{path}." for path in recurrent)
    joined = {path: value for path, value in weights.items() if not path.startswith(of_layers)}
    for path, kind in recurrent.items():
        joined |= join(weights, path, kind)
    return joined


def split_all(joined, recurrent):
    """The way back, for gradients."""
    weights = {path: value for path, value in joined.items() if "/" not in path}
    for path, kind in recurrent.items():
        weights |= split(joined, path, kind)
    return weights


def cat(*parts, axis=0):
    return np.concatenate(parts, axis)


def parts_of(array, n):
    return np.split(array, n)
