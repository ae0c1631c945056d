"""Networks as ONNX graphs, from netc's weights."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import layout
from networks import NETWORKS, RECURRENT

# The order of PyTorch's gates i f g o in ONNX: i o f g.
GATE_ORDER = (0, 3, 1, 2)


class Operations:
    """Adds a node for each of the networks' operations; values are names."""

    def __init__(self, weights, kinds, steps, unroll):
        self.weights, self.kinds, self.steps, self.unroll = weights, kinds, steps, unroll
        self.nodes, self.constants = [], {}

    def node(self, kind, *inputs, n_outputs=1, **attributes):
        outputs = [f"v{len(self.nodes)}_{at}" for at in range(n_outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs[0] if n_outputs == 1 else outputs

    def constant(self, name, value):
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def weight(self, path):
        return self.constant(path, self.weights[path])

    def conv(self, x, path, stride=1, pad=0):
        inputs = [self.weight(f"{path}.{name}") for name in ("weight", "bias") if f"{path}.{name}" in self.weights]
        return self.node("Conv", x, *inputs, strides=[stride] * 2, pads=[pad] * 4)

    def batchnorm(self, x, path):
        names = ("weight", "bias", "running_mean", "running_var")
        return self.node("BatchNormalization", x, *(self.weight(f"{path}.{name}") for name in names), epsilon=1e-5)

    def relu(self, x):
        return self.node("Relu", x)

    def add(self, x, y):
        return self.node("Add", x, y)

    def maxpool(self, x, size, stride, pad=0):
        return self.node("MaxPool", x, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def global_avgpool(self, x):
        return self.node("Flatten", self.node("GlobalAveragePool", x))

    def flatten(self, x):
        return self.node("Flatten", x)

    def dense(self, x, path):
        return self.node("Gemm", x, self.weight(f"{path}.weight"), self.weight(f"{path}.bias"), transB=1)

    def recurrent(self, x, path):
        kind = self.kinds[path]
        joined = {name: self.weights.get(f"{path}/{name}") for name in ("x", "h", "r", "b", "bh", "p")}
        if kind == "mgu" or (kind == "peephole" and self.unroll):
            return self.unrolled(x, kind, joined)
        return self.whole(x, kind, joined)

    def whole(self, x, kind, joined):
        """ONNX's own operator, with one direction."""
        hidden = joined["h"].shape[1]
        w, r, b = joined["x"], joined["h"], joined["b"]
        rb = np.zeros_like(b)
        attributes, extra = {"hidden_size": hidden}, []
        if kind in ("lstm", "peephole"):
            w, r, b = (reorder(array, GATE_ORDER, 4) for array in (w, r, b))
        if kind == "peephole":
            # Of the gates i, o, f; between them stand lengths and first states, which are left out.
            p = joined["p"][[0, 2, 1]].reshape(1, -1)
            extra = ["", "", "", self.constant("peepholes", p)]
        if kind == "gru":
            # ONNX's order is z r n, and its z is PyTorch's.
            w, r, b = (reorder(array, (1, 0, 2), 3) for array in (w, r, b))
            rb[2 * hidden:] = joined["bh"]
            attributes["linear_before_reset"] = 1
        inputs = {"w": w[None], "r": r[None], "b": np.concatenate([b, rb])[None]}
        inputs = [self.constant(name, value) for name, value in inputs.items()]
        operator = {"lstm": "LSTM", "peephole": "LSTM", "gru": "GRU", "rnn": "RNN"}[kind]
        outputs = self.node(operator, x, *inputs, *extra, n_outputs=2, **attributes)
        return self.node("Squeeze", outputs[0], self.constant("direction", np.array([1])))

    def unrolled(self, x, kind, joined):
        """One node after the other for every step: ONNX has no operator for such a cell."""
        hidden = joined["h"].shape[1]
        parts = self.node("MatMul", x, self.constant("wx", joined["x"].T))
        parts = self.node("Add", parts, self.constant("wb", joined["b"]))
        u, one = self.constant("wh", joined["h"].T), self.constant("one", np.array(1, np.float32))
        batch = self.batch
        h = c = self.constant("h0", np.zeros((batch, hidden), np.float32))
        sigmoid, tanh = (lambda v: self.node("Sigmoid", v)), (lambda v: self.node("Tanh", v))
        mul, add = (lambda a, b: self.node("Mul", a, b)), (lambda a, b: self.node("Add", a, b))
        ys, axis = [], self.constant("first", np.array([0]))
        for step in range(self.steps):
            part = self.node("Gather", parts, self.constant(f"step{step}", np.array(step)), axis=0)
            if kind == "mgu":
                a, b = self.node("Split", part, n_outputs=2, axis=-1, num_outputs=2)
                f = sigmoid(add(a, self.node("MatMul", h, u)))
                n = tanh(add(b, self.node("MatMul", mul(f, h), self.constant("wr", joined["r"].T))))
                h = add(mul(self.node("Sub", one, f), h), mul(f, n))
            else:
                at = [self.constant(f"p{i}", p) for i, p in enumerate(joined["p"])]
                gates = add(part, self.node("MatMul", h, u))
                i, f, g, o = self.node("Split", gates, n_outputs=4, axis=-1, num_outputs=4)
                i, f = (sigmoid(add(gate, mul(p, c))) for gate, p in ((i, at[0]), (f, at[1])))
                c = add(mul(f, c), mul(i, tanh(g)))
                h = mul(sigmoid(add(o, mul(at[2], c))), tanh(c))
            ys.append(self.node("Unsqueeze", h, axis))
        return self.node("Concat", *ys, axis=0)


def reorder(array, order, n):
    parts = np.split(array, n)
    return np.concatenate([parts[at] for at in order])


def write(task, weights, path, unroll):
    """The forward pass of a task's network as a file, its weights beside it; `unroll` spells peepholes out."""
    kinds = RECURRENT.get(task["network"], {})
    operations = Operations(layout.join_all(weights, kinds), kinds, task["length"], unroll)
    operations.batch = task["batch"]
    name, port = next(iter(task["ports"].items()))
    shape = port["shape"]
    if task["is_sequence"]:
        shape = [shape[1], shape[0], *shape[2:]]
    y = NETWORKS[task["network"]](operations, name)
    x = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(y, TensorProto.FLOAT, None)
    graph = helper.make_graph(operations.nodes, task["network"], [x], [y], list(operations.constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path), save_as_external_data=True, location=f"{path.name}.data", size_threshold=1 << 16)
