"""JAX: one jitted function of all weights; maps have their channels last; four steps of a loop at once, if so asked."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import files
import layout
from networks import NETWORKS, RECURRENT

sigmoid = jax.nn.sigmoid


def to_jax(path, value):
    """Kernels as [height, width, in, out], matrices as [in, out]; the table of an embedding stays."""
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return value.T if value.ndim == 2 and not path.startswith("embed") and not path.endswith("/p") else value


def to_netc(path, value):
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    return to_jax(path, value)


def channels_last(array):
    """`[…, channels, height, width]` with the channels last."""
    return np.moveaxis(array, -3, -1) if array.ndim >= 4 else array


class Operations:
    """The networks' operations on weights by path; `updates` takes the running statistics of a training step."""

    def __init__(self, weights, kinds, training, unroll):
        self.weights, self.kinds, self.training, self.unroll = weights, kinds, training, unroll
        self.updates = {}

    def conv(self, x, path, stride=1, pad=0):
        y = convolve(x, self.weights[f"{path}.weight"], stride, pad)
        bias = self.weights.get(f"{path}.bias")
        return y if bias is None else y + bias

    def batchnorm(self, x, path):
        w = {name: self.weights[f"{path}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
        mean, variance = w["running_mean"], w["running_var"]
        if self.training:
            n = x.size // x.shape[-1]
            mean = x.mean((0, 1, 2))
            variance = jnp.square(x - mean).mean((0, 1, 2))
            self.updates[f"{path}.running_mean"] = 0.9 * w["running_mean"] + 0.1 * mean
            self.updates[f"{path}.running_var"] = 0.9 * w["running_var"] + 0.1 * variance * (n / (n - 1))
        scale = w["weight"] * lax.rsqrt(variance + 1e-5)
        return x * scale + (w["bias"] - mean * scale)

    def relu(self, x):
        return jax.nn.relu(x)

    def add(self, x, y):
        return x + y

    def maxpool(self, x, size, stride, pad=0):
        pads = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, stride, stride, 1), pads)

    def global_avgpool(self, x):
        return x.mean((1, 2))

    def flatten(self, x):
        # In netc's order, which is that of the weights that follow.
        return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)

    def dense(self, x, path):
        return x @ self.weights[f"{path}.weight"] + self.weights[f"{path}.bias"]

    def embed(self, x, path):
        return self.weights[f"{path}.weight"][x]

    def recurrent(self, x, path):
        kind = self.kinds[path]
        p = {name: self.weights.get(f"{path}/{name}") for name in ("x", "h", "r", "b", "bh", "p")}
        hidden = p["h"].shape[-2]
        if kind == "conv_lstm":
            # The input's part of all steps at once.
            steps, batch = x.shape[:2]
            parts = convolve(x.reshape(steps * batch, *x.shape[2:]), p["x"], 1, 1) + p["b"]
            parts = parts.reshape(steps, batch, *parts.shape[1:])
            h = jnp.zeros((*x.shape[1:-1], hidden), x.dtype)
        else:
            parts = x @ p["x"] + p["b"]
            h = jnp.zeros((x.shape[1], hidden), x.dtype)
        if kind in ("lstm", "conv_lstm", "peephole"):
            step = {"lstm": lstm, "conv_lstm": conv_lstm, "peephole": peephole}[kind]
            return lax.scan(lambda state, part: step(p, *state, part), (h, h), parts, unroll=self.unroll)[1]
        step = {"gru": gru, "rnn": rnn, "mgu": mgu}[kind]
        return lax.scan(lambda h, part: (step(p, h, part),) * 2, h, parts, unroll=self.unroll)[1]


def convolve(x, kernel, stride, pad):
    form = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=form)


def gates(i, f, g, o, c):
    c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
    h = sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def lstm(p, h, c, part):
    return gates(*jnp.split(part + h @ p["h"], 4, -1), c)


def conv_lstm(p, h, c, part):
    return gates(*jnp.split(part + convolve(h, p["h"], 1, 1), 4, -1), c)


def peephole(p, h, c, part):
    i, f, g, o = jnp.split(part + h @ p["h"], 4, -1)
    at_i, at_f, at_o = p["p"]
    c = sigmoid(f + at_f * c) * c + sigmoid(i + at_i * c) * jnp.tanh(g)
    h = sigmoid(o + at_o * c) * jnp.tanh(c)
    return (h, c), h


def gru(p, h, part):
    r, z, n = jnp.split(part, 3, -1)
    hr, hz, hn = jnp.split(h @ p["h"], 3, -1)
    z = sigmoid(z + hz)
    return (1 - z) * jnp.tanh(n + sigmoid(r + hr) * (hn + p["bh"])) + z * h


def rnn(p, h, part):
    return jnp.tanh(part + h @ p["h"])


def mgu(p, h, part):
    a, b = jnp.split(part, 2, -1)
    f = sigmoid(a + h @ p["h"])
    return (1 - f) * h + f * jnp.tanh(b + (f * h) @ p["r"])


def loss_of(y, target):
    if jnp.issubdtype(target.dtype, jnp.floating):
        return jnp.square(y - target).mean()
    return -jnp.take_along_axis(jax.nn.log_softmax(y), target[..., None], -1).mean()


def update(how, weights, gradients, moments):
    """The optimizer's step, as PyTorch's."""
    each = jax.tree.map
    if how["kind"] == "sgd":
        moments = each(lambda m, g: how["momentum"] * m + g, moments, gradients)
        return each(lambda w, m: w - how["lr"] * m, weights, moments), moments
    if how.get("clip"):
        norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in gradients.values()))
        gradients = each(lambda g: g * jnp.minimum(1.0, how["clip"] / (norm + 1e-6)), gradients)
    m, v, t = moments
    t = t + 1
    m = each(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
    v = each(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradients)
    step = lambda w, m, v: w - how["lr"] * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return each(step, weights, m, v), (m, v, t)


class System:
    def __init__(self, task, folder, mode):
        self.task, self.folder = task, folder
        self.unroll = 4 if mode == "unrolled" else 1

    def load(self):
        task = self.task
        self.kinds = RECURRENT.get(task["network"], {})
        weights = layout.join_all(files.weights(self.folder), self.kinds)
        weights = {path: jnp.asarray(to_jax(path, value)) for path, value in weights.items()}
        is_state = lambda path: path.endswith(("running_mean", "running_var"))
        self.states = {path: value for path, value in weights.items() if is_state(path)}
        self.parameters = {path: value for path, value in weights.items() if not is_state(path)}
        arrays = files.arrays(task, self.folder)
        arrays = [jnp.asarray(channels_last(array)) for array in arrays.values()]
        self.x, self.target = arrays[0], arrays[-1]
        network = NETWORKS[task["network"]]

        def apply(parameters, states, x, training=False):
            operations = Operations(parameters | states, self.kinds, training, self.unroll)
            return network(operations, x), operations.updates

        def loss(parameters, states, x, target, training):
            y, updates = apply(parameters, states, x, training)
            return loss_of(y, target), updates

        def train(parameters, states, moments, x, target):
            (value, states), gradients = differentiated(parameters, states, x, target, True)
            return (*update(task["optimizer"], parameters, gradients, moments), states, value)

        def gradients(parameters, states, x, target):
            (value, _), gradients = differentiated(parameters, states, x, target, False)
            return value, gradients

        differentiated = jax.value_and_grad(loss, has_aux=True)
        compiled = {
            "forward": jax.jit(lambda p, s, x: apply(p, s, x)[0]),
            "gradients": jax.jit(gradients),
            "train": jax.jit(train, donate_argnums=(0, 1, 2)),
        }
        self.compiled = compiled[task["entry"]]
        self.call = getattr(self, task["entry"])
        if task["entry"] == "train":
            zeros = lambda: jax.tree.map(jnp.zeros_like, self.parameters)
            self.moments = zeros() if task["optimizer"]["kind"] == "sgd" else (zeros(), zeros(), jnp.float32(0))

    def forward(self):
        return jax.block_until_ready(self.compiled(self.parameters, self.states, self.x))

    def gradients(self):
        return jax.block_until_ready(self.compiled(self.parameters, self.states, self.x, self.target))

    def train(self):
        after = jax.block_until_ready(self.compiled(self.parameters, self.states, self.moments, self.x, self.target))
        self.parameters, self.moments, self.states, loss = after
        return loss

    def results(self):
        if self.task["entry"] == "forward":
            return {"output": self.as_netc(self.forward())}
        if self.task["entry"] == "train":
            return {"losses": np.array([self.train() for _ in range(3)])}
        loss, gradients = self.gradients()
        gradients = {path: to_netc(path, np.asarray(value)) for path, value in gradients.items()}
        gradients = layout.split_all(gradients, self.kinds)
        named = {f"gradient of {path}": value for path, value in gradients.items()}
        return {"losses": np.array([loss]), **named}

    def as_netc(self, y):
        y = np.asarray(y)
        return files.steps_first(np.moveaxis(y, -1, -3) if y.ndim >= 4 else y, self.task)
