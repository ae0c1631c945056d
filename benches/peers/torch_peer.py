"""PyTorch: eager, with channels last, or compiled."""

import torch
import torch.nn.functional as F

import files
import layout
from networks import NETWORKS, RECURRENT


class Operations:
    """The networks' operations; weights are parameters by path."""

    def __init__(self, network, weights, training, memory_format):
        recurrent = RECURRENT.get(network, {})
        self.training = training
        self.parameters, self.states = {}, {}
        for path, value in layout.join_all(weights, recurrent).items():
            tensor = torch.from_numpy(value)
            if tensor.dim() == 4:
                tensor = tensor.contiguous(memory_format=memory_format)
            is_state = path.endswith(("running_mean", "running_var"))
            (self.states if is_state else self.parameters)[path] = tensor if is_state else torch.nn.Parameter(tensor)
        self.kinds = recurrent
        self.modules = {path: self.module(path, kind) for path, kind in recurrent.items()}

    def module(self, path, kind):
        """PyTorch's own layer of that kind, with these very parameters."""
        make = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}.get(kind)
        if make is None:
            return None
        p = self.parameters
        hidden, n = p[f"{path}/h"].shape[1], p[f"{path}/x"].shape[1]
        module = make(n, hidden)
        module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0 = p[f"{path}/x"], p[f"{path}/h"], p[f"{path}/b"]
        bias = torch.zeros_like(p[f"{path}/b"])
        if kind == "gru":
            # Of this bias only the candidate's third is netc's: the gates have one bias each.
            bias[2 * hidden:] = p[f"{path}/bh"].detach()
            module.bias_hh_l0 = p[f"{path}/bh"] = torch.nn.Parameter(bias)
        else:
            module.bias_hh_l0 = torch.nn.Parameter(bias, requires_grad=False)
        return module

    def gradients(self):
        """By netc's paths."""
        found = {path: parameter.grad.contiguous().numpy() for path, parameter in self.parameters.items()}
        for path, kind in self.kinds.items():
            if kind == "gru":
                found[f"{path}/bh"] = found[f"{path}/bh"][-self.parameters[f"{path}/h"].shape[1]:]
        return layout.split_all(found, self.kinds)

    def conv(self, x, path, stride=1, pad=0):
        return F.conv2d(x, self.parameters[f"{path}.weight"], self.parameters.get(f"{path}.bias"), stride, pad)

    def batchnorm(self, x, path):
        p, s = self.parameters, self.states
        mean, variance = s[f"{path}.running_mean"], s[f"{path}.running_var"]
        return F.batch_norm(x, mean, variance, p[f"{path}.weight"], p[f"{path}.bias"], self.training, 0.1, 1e-5)

    def relu(self, x):
        return F.relu(x)

    def add(self, x, y):
        return x + y

    def maxpool(self, x, size, stride, pad=0):
        return F.max_pool2d(x, size, stride, pad)

    def global_avgpool(self, x):
        return x.mean((2, 3))

    def flatten(self, x):
        return x.flatten(1)

    def dense(self, x, path):
        return F.linear(x, self.parameters[f"{path}.weight"], self.parameters[f"{path}.bias"])

    def embed(self, x, path):
        return F.embedding(x, self.parameters[f"{path}.weight"])

    def recurrent(self, x, path):
        kind, module = self.kinds[path], self.modules[path]
        if module is not None:
            return module(x)[0]
        p = {name: self.parameters.get(f"{path}/{name}") for name in "xhrbp"}
        if kind == "conv_lstm":
            return self.conv_lstm(x, p)
        # The input's part of all steps at once.
        parts = F.linear(x, p["x"], p["b"]).unbind(0)
        h = x.new_zeros(x.shape[1], p["h"].shape[1])
        return torch.stack(mgu(parts, h, p) if kind == "mgu" else peephole(parts, h, p))

    def conv_lstm(self, x, p):
        steps, batch, _, height, width = x.shape
        parts = F.conv2d(x.flatten(0, 1), p["x"], p["b"], 1, 1).unflatten(0, (steps, batch)).unbind(0)
        h = c = x.new_zeros(batch, p["h"].shape[1], height, width)
        ys = []
        for part in parts:
            i, f, g, o = (part + F.conv2d(h, p["h"], None, 1, 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            ys.append(h)
        return torch.stack(ys)


def mgu(parts, h, p):
    ys = []
    for part in parts:
        a, b = part.chunk(2, -1)
        f = torch.sigmoid(a + F.linear(h, p["h"]))
        h = (1 - f) * h + f * torch.tanh(b + F.linear(f * h, p["r"]))
        ys.append(h)
    return ys


def peephole(parts, h, p):
    ys, c = [], h
    at_i, at_f, at_o = p["p"].unbind(0)
    for part in parts:
        i, f, g, o = (part + F.linear(h, p["h"])).chunk(4, -1)
        c, before = torch.sigmoid(f + at_f * c) * c, c
        c = c + torch.sigmoid(i + at_i * before) * torch.tanh(g)
        h = torch.sigmoid(o + at_o * c) * torch.tanh(c)
        ys.append(h)
    return ys


class System:
    def __init__(self, task, folder, mode):
        self.task, self.folder, self.mode = task, folder, mode
        torch.set_num_threads(task["threads"])

    def load(self):
        task = self.task
        memory_format = torch.channels_last if self.mode == "channels_last" else torch.contiguous_format
        self.operations = Operations(
            task["network"], files.weights(self.folder), task["entry"] == "train", memory_format
        )
        self.arrays = {}
        for name, array in files.arrays(task, self.folder).items():
            tensor = torch.from_numpy(array)
            tensor = tensor.long() if tensor.dtype == torch.int32 else tensor
            if tensor.dim() == 4:
                tensor = tensor.contiguous(memory_format=memory_format)
            self.arrays[name] = tensor
        names = list(self.arrays)
        network, operations = NETWORKS[task["network"]], self.operations
        self.parameters = list(operations.parameters.values())
        self.network = lambda: network(operations, self.arrays[names[0]])
        if self.mode == "compiled":
            self.network = torch.compile(self.network, dynamic=False)
        self.target = self.arrays[names[-1]]
        how = task["optimizer"]
        if how and how["kind"] == "sgd":
            self.optimizer = torch.optim.SGD(self.parameters, lr=how["lr"], momentum=how["momentum"])
        elif how:
            self.optimizer = torch.optim.Adam(self.parameters, lr=how["lr"])
        self.call = getattr(self, task["entry"])

    def loss(self, y):
        if self.target.is_floating_point():
            return F.mse_loss(y, self.target)
        return F.cross_entropy(y.flatten(0, -2), self.target.flatten())

    def forward(self):
        with torch.inference_mode():
            return self.network()

    def gradients(self):
        for parameter in self.parameters:
            parameter.grad = None
        loss = self.loss(self.network())
        loss.backward()
        return loss

    def train(self):
        loss = self.gradients()
        if self.task["optimizer"].get("clip"):
            torch.nn.utils.clip_grad_norm_(self.parameters, self.task["optimizer"]["clip"])
        self.optimizer.step()
        return loss.detach()

    def results(self):
        if self.task["entry"] == "forward":
            return {"output": files.steps_first(self.forward().contiguous().numpy(), self.task)}
        if self.task["entry"] == "train":
            return {"losses": torch.stack([self.train() for _ in range(3)]).numpy()}
        loss = self.gradients()
        gradients = {f"gradient of {path}": value for path, value in self.operations.gradients().items()}
        return {"losses": loss.detach().reshape(1).numpy(), **gradients}
