"""The recurrent networks of reference.py, in PyTorch."""

import torch
from torch import nn


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

    def __init__(self, n, channels, k=3):
        super().__init__()
        self.i, self.f, self.o, self.g = (nn.Conv2d(n + channels, channels, k, padding=k // 2) for _ in range(4))

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


class Gates(nn.Module):
    """A cell of the library with one state, which PyTorch does not have: a matrix for each gate, and its step."""

    def __init__(self, n, hidden, gates, step):
        super().__init__()
        for gate in gates:
            setattr(self, gate, nn.Linear(n + hidden, hidden))
        self.hidden, self.step = hidden, step

    def forward(self, xs):
        h, ys = torch.zeros(xs.shape[0], self.hidden), []
        for x in xs.unbind(1):
            h = self.step(self, h, lambda gate, h: getattr(self, gate)(torch.cat([x, h], 1)))
            ys.append(h)
        return torch.stack(ys, 1), h


def gru_before(cell, h, gate):
    z, r = torch.sigmoid(gate("z", h)), torch.sigmoid(gate("r", h))
    return (1 - z) * h + z * torch.tanh(gate("candidate", r * h))


def mgu(cell, h, gate):
    f = torch.sigmoid(gate("f", h))
    return (1 - f) * h + f * torch.tanh(gate("candidate", f * h))


class Library(nn.Module):
    """Cells of the library that PyTorch does not have."""

    def __init__(self):
        super().__init__()
        self.gru1 = Gates(4, 5, ["z", "r", "candidate"], gru_before)
        self.mgu1 = Gates(5, 6, ["f", "candidate"], mgu)
        self.maps = ConvLstm(1, 2, k=5)
        self.prediction = nn.Linear(6, 3)
        self.end = nn.Linear(11, 2)
        self.pictures = nn.Conv2d(2, 1, 1)

    def forward(self, x, frames):
        a, a_h = self.gru1(x)
        b, b_h = self.mgu1(a)
        maps, _, _ = self.maps(frames)
        pictures = torch.stack([self.pictures(y) for y in maps.unbind(1)], 1)
        end = self.end(torch.cat([a_h, b_h], 1))
        return {"prediction": self.prediction(b), "end": end, "pictures": pictures, "gru_y": a, "maps_y": maps}


class Translator(nn.Module):
    """A decoder that begins with what an encoder of sequences of different lengths ended with."""

    def __init__(self):
        super().__init__()
        self.encoder = one_bias(nn.LSTM(4, 5, batch_first=True))
        self.decoder = one_bias(nn.LSTM(3, 5, batch_first=True))
        self.logits = nn.Linear(5, 7)

    def forward(self, source, prefix, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(source, lengths, batch_first=True)
        _, states = self.encoder(packed)
        y, _ = self.decoder(prefix, states)
        return self.logits(y)


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
