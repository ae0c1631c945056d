"""Makes the figures that tests/pytorch.rs compares with: outputs, losses, gradients and parameters after
three optimizer steps of small networks, computed by PyTorch.

    pip install torch safetensors numpy
    python tests/pytorch/reference.py

Each case is a file NAME.net beside this script and the module that says the same in PyTorch; the figures go
to NAME.safetensors. Names are PyTorch's: those of recurrent modules become netc's paths when they are read.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn

HERE = pathlib.Path(__file__).parent
torch.manual_seed(20)
torch.set_num_threads(1)


class Convnet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1, stride=2)
        self.logits = nn.Linear(6 * 2 * 3, 5)

    def forward(self, image):
        x = F.max_pool2d(F.relu(self.conv1(image)), 2)
        x = F.relu(self.conv2(x))
        return self.logits(x.flatten(1))


class Residual(nn.Module):
    """Batch normalisation in training, a projection shortcut, a global pool."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.batchnorm1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 8, 3, padding=1, stride=2, bias=False)
        self.batchnorm2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(4, 8, 1, stride=2, bias=False)
        self.batchnorm3 = nn.BatchNorm2d(8)
        self.logits = nn.Linear(8, 4)

    def forward(self, image):
        x = F.relu(self.batchnorm1(self.conv1(image)))
        y = self.batchnorm2(self.conv2(x)) + self.batchnorm3(self.conv3(x))
        return self.logits(F.relu(y).mean((2, 3)))


class Activations(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.groupnorm1 = nn.GroupNorm(2, 4)
        self.dense1 = nn.Linear(4 * 3 * 3, 9)
        self.layernorm1 = nn.LayerNorm(9)
        self.dense2 = nn.Linear(9, 9)
        self.dense3 = nn.Linear(9, 9)
        self.prediction = nn.Linear(9, 3)

    def forward(self, x):
        x = F.silu(self.groupnorm1(self.conv1(x)))
        x = F.avg_pool2d(x, 2).flatten(1)
        x = F.gelu(self.layernorm1(self.dense1(x)))
        x = F.elu(self.dense2(x))
        x = torch.tanh(F.leaky_relu(self.dense3(x), 0.1))
        return torch.sigmoid(self.prediction(x))


class Convolutions(nn.Module):
    """Groups, depthwise, dilation, even kernels, uneven strides and paddings, overlapping pools."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5, padding=2, stride=2)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.conv3 = nn.Conv2d(6, 8, 3, padding=2, dilation=2, groups=2)
        self.conv4 = nn.Conv2d(8, 4, (2, 4), padding=(1, 0))
        self.prediction = nn.Linear(4, 2)

    def forward(self, x):
        x = torch.sigmoid(self.conv1(x))
        x = self.conv2(x)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        x = F.softplus(self.conv3(x))
        x = self.conv4(x)
        return self.prediction(x.mean((2, 3)))


class Text(nn.Module):
    """Kim's sentence classifier without dropout: a table of words, three widths, the maximum over time."""

    def __init__(self):
        super().__init__()
        self.embed1 = nn.Embedding(11, 6)
        self.conv1d1 = nn.Conv1d(6, 4, 3, padding=1)
        self.conv1d2 = nn.Conv1d(6, 4, 4)
        self.conv1d3 = nn.Conv1d(6, 4, 5, padding=2)
        self.logits = nn.Linear(12, 3)

    def forward(self, words):
        x = self.embed1(words).transpose(1, 2)
        convolutions = [self.conv1d1, self.conv1d2, self.conv1d3]
        x = torch.cat([F.relu(conv(x)).max(2).values for conv in convolutions], 1)
        return self.logits(x)


class Normalised(nn.Module):
    """Local response normalisation and a smoothed, weighted loss."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 6, 3, padding=1)
        self.logits = nn.Linear(6, 4)

    def forward(self, image):
        x = F.local_response_norm(F.relu(self.conv1(image)), 5)
        return self.logits(x.amax((2, 3)))


def one_bias(module):
    """PyTorch adds two biases where netc has one: trains the second only where it counts, in a GRU's candidate."""
    for name, bias in module.named_parameters():
        if "bias_hh" in name:
            trained = torch.zeros_like(bias)
            if isinstance(module, nn.GRU):
                trained[2 * module.hidden_size:] = 1
            bias.register_hook(lambda gradient, trained=trained: gradient * trained)
    return module


def run(module, x, lengths=None):
    """The outputs of a recurrent module, and its final states as [batch, features], both directions side by side."""
    if lengths is not None:
        x = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
    y, states = module(x)
    if lengths is not None:
        y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    states = states if isinstance(states, tuple) else [states]
    return y, [state.transpose(0, 1).flatten(1) for state in states]


class Recurrent(nn.Module):
    """One layer, a stack, both directions, and a stack of both; the final states of those that are no stack."""

    def __init__(self, kind, **how):
        super().__init__()
        make = lambda *sizes, **more: one_bias(kind(*sizes, batch_first=True, **how, **more))
        self.plain = make(4, 6)
        self.stack = make(4, 5, 2)
        self.both = make(4, 5, bidirectional=True)
        self.deep = make(4, 5, 2, bidirectional=True)
        self.prediction = nn.Linear(31, 3)
        self.end = nn.Linear(32 if kind is nn.LSTM else 16, 2)

    def forward(self, x):
        figures = {name: run(getattr(self, name), x) for name in ["plain", "stack", "both", "deep"]}
        outputs = {f"{name}_y": y for name, (y, _) in figures.items()}
        ends = {f"{name}_{state}": end for name in ["plain", "both"] for state, end in zip("hc", figures[name][1])}
        prediction = self.prediction(torch.cat(list(outputs.values()), 2))
        return outputs | ends | {"prediction": prediction, "end": self.end(torch.cat(list(ends.values()), 1))}


class Packed(nn.Module):
    """Members of a batch that are shorter than others."""

    def __init__(self):
        super().__init__()
        self.encoder = one_bias(nn.LSTM(4, 5, batch_first=True))
        self.decoder = one_bias(nn.GRU(5, 6, batch_first=True))
        self.both = one_bias(nn.LSTM(4, 5, batch_first=True, bidirectional=True))
        self.prediction = nn.Linear(16, 3)
        self.end = nn.Linear(36, 2)

    def forward(self, x, lengths):
        encoder, [h, c] = run(self.encoder, x, lengths)
        decoder, [state] = run(self.decoder, encoder, lengths)
        both, [both_h, both_c] = run(self.both, x, lengths)
        exists = (torch.arange(x.shape[1]) < lengths[:, None])[..., None]
        prediction = self.prediction(torch.cat([decoder, both], 2)) * exists
        ends = {"encoder_h": h, "encoder_c": c, "decoder_h": state, "both_h": both_h, "both_c": both_c}
        end = self.end(torch.cat(list(ends.values()), 1))
        return {"encoder_y": encoder, "both_y": both, "prediction": prediction, "end": end} | ends


class Mgu(nn.Module):
    """The minimal gated unit of models/cells.net."""

    def __init__(self, n, hidden):
        super().__init__()
        for name, columns in [("W", n), ("U", hidden), ("V", n), ("R", hidden)]:
            setattr(self, name, nn.Parameter(torch.randn(hidden, columns) / 2))
        for name in ["b", "d"]:
            setattr(self, name, nn.Parameter(torch.randn(hidden) / 2))

    def forward(self, xs):
        h, ys = torch.zeros(xs.shape[0], self.U.shape[0]), []
        for x in xs.unbind(1):
            f = torch.sigmoid(x @ self.W.T + h @ self.U.T + self.b)
            h = (1 - f) * h + f * torch.tanh(x @ self.V.T + (f * h) @ self.R.T + self.d)
            ys.append(h)
        return torch.stack(ys, 1), h


class Peephole(nn.Module):
    """The LSTM with peephole connections of models/cells.net."""

    def __init__(self, n, hidden):
        super().__init__()
        self.i, self.f, self.c, self.o = (nn.Linear(n + hidden, hidden) for _ in range(4))
        for name in ["pi", "pf", "po"]:
            setattr(self, name, nn.Parameter(torch.randn(hidden)))

    def forward(self, xs):
        h = c = torch.zeros(xs.shape[0], len(self.pi))
        ys = []
        for x in xs.unbind(1):
            joined = torch.cat([x, h], 1)
            i = torch.sigmoid(self.i(joined) + self.pi * c)
            f = torch.sigmoid(self.f(joined) + self.pf * c)
            c = f * c + i * torch.tanh(self.c(joined))
            o = torch.sigmoid(self.o(joined) + self.po * c)
            h = o * torch.tanh(c)
            ys.append(h)
        return torch.stack(ys, 1), h, c


class ConvLstm(nn.Module):
    """The convolutional LSTM of models/cells.net."""

    def __init__(self, n, channels):
        super().__init__()
        self.i, self.f, self.o, self.g = (nn.Conv2d(n + channels, channels, 3, padding=1) for _ in range(4))

    def forward(self, xs):
        batch, _, _, height, width = xs.shape
        h = c = torch.zeros(batch, self.i.out_channels, height, width)
        ys = []
        for x in xs.unbind(1):
            joined = torch.cat([x, h], 1)
            i, f, o = (torch.sigmoid(gate(joined)) for gate in [self.i, self.f, self.o])
            c = f * c + i * torch.tanh(self.g(joined))
            h = o * torch.tanh(c)
            ys.append(h)
        return torch.stack(ys, 1), h, c


class Cells(nn.Module):
    """The cells that models/cells.net writes out as equations."""

    def __init__(self):
        super().__init__()
        self.mgu1 = Mgu(4, 5)
        self.peephole1 = Peephole(5, 6)
        self.maps = ConvLstm(2, 3)
        self.prediction = nn.Linear(6, 3)
        self.end = nn.Linear(17, 2)
        self.picture = nn.Conv2d(3, 1, 1)

    def forward(self, x, frames):
        a, a_h = self.mgu1(x)
        b, b_h, b_c = self.peephole1(a)
        c, c_h, c_c = self.maps(frames)
        outputs = {"mgu_y": a, "mgu_h": a_h, "peephole_y": b, "peephole_h": b_h, "peephole_c": b_c}
        maps = {"maps_y": c, "maps_h": c_h, "maps_c": c_c}
        end = self.end(torch.cat([a_h, b_h, b_c], 1))
        pictures = self.picture(c_h + c_c) + self.picture(c.mean(1))
        return outputs | maps | {"prediction": self.prediction(b), "end": end, "pictures": pictures}


class Clipped(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed1 = nn.Embedding(7, 4)
        self.lstm1 = one_bias(nn.LSTM(4, 6, batch_first=True))
        self.logits = nn.Linear(6, 7)

    def forward(self, words):
        y, _ = self.lstm1(self.embed1(words))
        return self.logits(y)


class Windows(nn.Module):
    """What is walked in windows: each goes on from the states of the one before, through which no gradient flows."""

    def __init__(self):
        super().__init__()
        self.embed1 = nn.Embedding(7, 4)
        self.stack = one_bias(nn.LSTM(4, 5, 2, batch_first=True))
        self.top = one_bias(nn.GRU(5, 6, batch_first=True))
        self.logits = nn.Linear(6, 7)

    def forward(self, words, states=(None, None)):
        y, (h, c) = self.stack(self.embed1(words), states[0])
        y, end = self.top(y, states[1])
        return self.logits(y), ((h.detach(), c.detach()), end.detach())


def tokens(n, *shape):
    return torch.randint(0, n, shape)


CASES = {
    "convnet": (Convnet(), {"image": torch.randn(3, 2, 8, 12)}, {"label": tokens(5, 3)},
                lambda y, t: F.cross_entropy(y, t["label"]),
                lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)),
    "residual": (Residual(), {"image": torch.randn(4, 3, 7, 9)}, {"label": tokens(4, 4)},
                 lambda y, t: F.cross_entropy(y, t["label"]),
                 lambda p: torch.optim.Adam(p, lr=0.01)),
    "activations": (Activations(), {"x": torch.randn(5, 2, 6, 6)}, {"y": torch.rand(5, 3)},
                    lambda y, t: F.binary_cross_entropy(y, t["y"]),
                    lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
    "convolutions": (Convolutions(), {"x": torch.randn(2, 3, 17, 13)}, {"y": torch.randn(2, 2)},
                     lambda y, t: F.mse_loss(y, t["y"]),
                     lambda p: torch.optim.RMSprop(p, lr=0.001, momentum=0.5)),
    "text": (Text(), {"words": tokens(11, 3, 9)}, {"label": tokens(3, 3)},
             lambda y, t: F.cross_entropy(y, t["label"]),
             lambda p: torch.optim.SGD(p, lr=0.1)),
    "normalised": (Normalised(), {"image": torch.randn(3, 2, 5, 5)}, {"label": tokens(4, 3)},
                   lambda y, t: F.cross_entropy(y, t["label"], weight=torch.tensor([1.0, 2.0, 0.5, 1.5]),
                                                label_smoothing=0.1),
                   lambda p: torch.optim.Adagrad(p, lr=0.05)),
}


def sequence_loss(y, t):
    return F.mse_loss(y["prediction"], t["y"]) + F.mse_loss(y["end"], t["z"])


def packed_loss(y, t):
    # The mean over the steps that exist.
    exists = torch.arange(6) < PACKED[:, None]
    return F.mse_loss(y["prediction"][exists], t["y"][exists]) + F.mse_loss(y["end"], t["z"])


def token_loss(y, t):
    return F.cross_entropy(y.flatten(0, 1), t["label"].flatten())


def recurrent(kind, **how):
    return (Recurrent(kind, **how), {"x": torch.randn(3, 6, 4)}, {"y": torch.randn(3, 6, 3), "z": torch.randn(3, 2)},
            sequence_loss, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9))


PACKED = torch.tensor([6, 3, 1])
# The norms of the first two steps are beyond the limit, that of the third is within.
CLIPPED = ({"words": tokens(7, 3, 6)}, {"label": tokens(7, 3, 6)}, token_loss,
           lambda p: torch.optim.Adam(p, lr=0.05, eps=0.01))
CASES |= {
    "lstm_layers": recurrent(nn.LSTM),
    "gru_layers": recurrent(nn.GRU),
    "rnn_layers": recurrent(nn.RNN),
    "relu_layers": recurrent(nn.RNN, nonlinearity="relu"),
    "packed": (Packed(), {"x": torch.randn(3, 6, 4), "T": PACKED},
               {"y": torch.randn(3, 6, 3), "z": torch.randn(3, 2)}, packed_loss,
               lambda p: torch.optim.SGD(p, lr=0.1)),
    "cells": (Cells(), {"x": torch.randn(3, 6, 4), "frames": torch.randn(3, 6, 2, 5, 4)},
              {"y": torch.randn(3, 6, 3), "z": torch.randn(3, 2), "w": torch.randn(3, 1, 5, 4)},
              lambda y, t: sequence_loss(y, t) + F.mse_loss(y["pictures"], t["w"]),
              lambda p: torch.optim.SGD(p, lr=0.1)),
    "clip_norm": (Clipped(), *CLIPPED, lambda p: nn.utils.clip_grad_norm_(p, 0.17)),
    "clip_value": (Clipped(), *CLIPPED, lambda p: nn.utils.clip_grad_value_(p, 0.005)),
}


def array(tensor):
    tensor = tensor.detach()
    kind = np.float32 if tensor.dtype.is_floating_point else np.int32
    return np.ascontiguousarray(tensor.numpy().astype(kind))


def parameter(name, tensor):
    # PyTorch keeps a 1-d convolution's kernel as [out, in, k], as netc does.
    return array(tensor)


def main():
    for name, (module, inputs, targets, loss_of, optimizer_of, *clip) in CASES.items():
        figures = {f"input.{key}": array(value) for key, value in (inputs | targets).items()}
        state = lambda: {key: value for key, value in module.state_dict().items() if "num_batches" not in key}
        figures |= {f"before.{key}": parameter(key, value) for key, value in state().items()}
        module.eval()
        outputs = module(*inputs.values())
        outputs = outputs if isinstance(outputs, dict) else {"": outputs}
        figures |= {f"inference.{key}".removesuffix("."): array(value) for key, value in outputs.items()}
        module.train()
        optimizer = optimizer_of(module.parameters())
        for step in range(3):
            optimizer.zero_grad()
            loss = loss_of(module(*inputs.values()), targets)
            loss.backward()
            figures[f"loss.{step}"] = array(loss.reshape(1))
            if step == 0:
                gradients = dict(module.named_parameters())
                figures |= {f"gradient.{key}": parameter(key, p.grad) for key, p in gradients.items()}
            for clipping in clip:
                norm = clipping(module.parameters())
                if norm is not None:
                    figures[f"norm.{step}"] = array(norm)
            optimizer.step()
        figures |= {f"after.{key}": parameter(key, value) for key, value in state().items()}
        save_file(figures, HERE / f"{name}.safetensors")
        print(name, {key: float(figures[key][0]) for key in figures if key.startswith("loss")})


def windows():
    module, words, labels = Windows(), tokens(7, 3, 6), tokens(7, 3, 6)
    figures = {"input.words": array(words), "input.label": array(labels)}
    figures |= {f"before.{key}": array(value) for key, value in module.state_dict().items()}
    states = (None, None)
    for window in range(2):
        module.zero_grad()
        part = slice(3 * window, 3 * window + 3)
        logits, states = module(words[:, part], states)
        loss = token_loss(logits, {"label": labels[:, part]})
        loss.backward()
        figures[f"window.{window}.inference"] = array(logits)
        figures[f"window.{window}.loss"] = array(loss.reshape(1))
        figures |= {f"window.{window}.gradient.{key}": array(p.grad) for key, p in module.named_parameters()}
        (h, c), end = states
        for layer in range(2):
            figures[f"window.{window}.state.stack.lstm1.{layer + 1}.h"] = array(h[layer])
            figures[f"window.{window}.state.stack.lstm1.{layer + 1}.c"] = array(c[layer])
        figures[f"window.{window}.state.top.h"] = array(end[0])
    save_file(figures, HERE / "windows.safetensors")


main()
windows()
