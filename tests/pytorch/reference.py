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

from recurrent import Cells, Clipped, Library, Packed, Recurrent, Translator, Windows

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
    "library": (Library(), {"x": torch.randn(3, 6, 4), "frames": torch.randn(3, 6, 1, 6, 5)},
                {"y": torch.randn(3, 6, 3), "z": torch.randn(3, 2), "w": torch.randn(3, 6, 1, 6, 5)},
                lambda y, t: sequence_loss(y, t) + F.mse_loss(y["pictures"], t["w"]),
                lambda p: torch.optim.SGD(p, lr=0.1)),
    "translator": (Translator(), {"source": torch.randn(3, 6, 4), "prefix": torch.randn(3, 5, 3), "S": PACKED},
                   {"label": tokens(7, 3, 5)}, token_loss, lambda p: torch.optim.SGD(p, lr=0.1)),
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
