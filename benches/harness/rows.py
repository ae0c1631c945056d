"""The rows of the table: which network, called how, at which sizes, by whom, and what it must take at most."""

import dataclasses
import fnmatch

VGG16, RESNET18 = "benches/networks/vgg16.net", "models/resnet18.net"
LSTM, RECURRENT, CHARLM = "benches/networks/lstm.net", "benches/networks/recurrent.net", "models/charlm.net"
# So small that the losses fall smoothly: a step too far multiplies the last bits in which systems differ.
SGD = {"kind": "sgd", "lr": 1e-4, "momentum": 0.9}
ADAM = {"kind": "adam", "lr": 2e-3, "clip": 5.0}


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    file: str
    # As peers call it; of a file with several nets, its net.
    network: str
    # forward, gradients (outputs, loss and the gradients of all parameters) or train (a step of the optimizer).
    entry: str
    batch: int
    # Of sequences; 0 where there are none.
    length: int
    # Inputs, then targets: the shape, and for tokens how many there are.
    ports: dict
    # Multiplications and additions of the direct algorithms, an addition counted as an operation of its own.
    operations: float
    # The largest part of the fastest peer's time that netc may take.
    bar: float
    peers: tuple
    optimizer: dict | None = None

    def task(self, root, threads):
        """What the workers are told."""
        ports = {
            name: {"shape": list(shape), "vocabulary": vocabulary, "target": at > 0}
            for at, (name, (shape, vocabulary)) in enumerate(self.ports.items())
        }
        settings = {}
        if self.optimizer is SGD and self.file == RESNET18:
            settings["train.optimizer"] = "sgd(lr = 1e-4, momentum = 0.9)"
        return {
            "file": str(root / self.file),
            "net": self.network if self.file == RECURRENT else None,
            "network": self.network,
            "settings": settings,
            "entry": self.entry,
            "batch": self.batch,
            "length": self.length,
            "is_sequence": self.length > 0,
            "threads": threads,
            "ports": ports,
            "optimizer": self.optimizer,
        }


def times_three(forward, first_input=0.0):
    """Forward, weights' gradients, inputs' gradients; nothing needs that of the network's own input."""
    return 3 * forward - first_input


def convolutional():
    forward = ("torch", "torch channels-last", "onnxruntime", "openvino", "jax")
    training = ("torch", "torch channels-last", "jax")
    image = lambda batch: {"image": ((batch, 3, 224, 224), None), "label": ((batch,), 1000)}
    # Multiply-accumulates of an image, and those of the first convolution.
    vgg, vgg_first = 15_470_264_320, 224 * 224 * 64 * 27
    res, res_first = 1_814_073_344, 112 * 112 * 64 * 147
    for batch, bar in ((1, 0.50), (8, 0.45)):
        yield Row(f"vgg16_b{batch}", f"VGG-16 forward, batch {batch}", VGG16, "vgg16", "forward", batch, 0,
                  image(batch), 2.0 * vgg * batch, bar, forward)
    yield Row("vgg16_train_b8", "VGG-16 training step, batch 8", VGG16, "vgg16", "train", 8, 0,
              image(8), times_three(16.0 * vgg, 16.0 * vgg_first), 0.45, training, SGD)
    yield Row("resnet18_b1", "ResNet-18 forward, batch 1", RESNET18, "resnet18", "forward", 1, 0,
              image(1), 2.0 * res, 0.65, forward)
    yield Row("resnet18_train_b8", "ResNet-18 training step, batch 8", RESNET18, "resnet18", "train", 8, 0,
              image(8), times_three(16.0 * res, 16.0 * res_first), 0.60, training, SGD)
    shape = (4, 10, 64, 32, 32)
    # Half of the convolution's 128 channels are the input's.
    forward = 2.0 * 4 * 10 * 32 * 32 * 9 * 128 * 256
    yield Row("conv_lstm_b4_gradients", "ConvLSTM forward+backward, batch 4", RECURRENT, "conv_lstm_layer", "gradients",
              4, 10, {"x": (shape, None), "t": (shape, None)}, times_three(forward, forward / 2), 0.50,
              # JAX takes about twenty times as long as PyTorch.
              ("torch", "torch channels-last"))


def recurrent():
    """Input 128, hidden 256, 100 steps: gates, then the bars of forward and forward+backward at batch 1 and 32."""
    kinds = {
        "lstm": ("LSTM", 4, (0.80, 0.70), (0.95, 0.75)),
        "gru": ("GRU", 3, (0.80, 0.70), (0.95, 0.80)),
        "rnn": ("RNN", 1, (0.80, 0.70), (0.95, 0.80)),
        "mgu": ("MGU", 2, (0.80, 0.70), (0.90, 0.80)),
        "peephole": ("peephole LSTM", 4, (0.70, 0.65), (0.85, 0.65)),
    }
    for kind, (title, gates, *bars) in kinds.items():
        file = LSTM if kind == "lstm" else RECURRENT
        for batch, bar in zip((1, 32), bars):
            ports = {"x": ((batch, 100, 128), None), "t": ((batch, 100, 256), None)}
            forward, of_input = (2.0 * gates * 256 * n * 100 * batch for n in (384, 128))
            yield Row(f"{kind}_b{batch}", f"{title} forward, batch {batch}", file, f"{kind}_layer", "forward",
                      batch, 100, ports, forward, bar[0],
                      ("torch", "onnxruntime", "openvino", "jax", "jax unrolled"))
            yield Row(f"{kind}_b{batch}_gradients", f"{title} forward+backward, batch {batch}", file,
                      f"{kind}_layer", "gradients", batch, 100, ports, times_three(forward, of_input), bar[1],
                      ("torch", "jax", "jax unrolled"))
    tokens = ((50, 50), 65)
    # Two layers of 4 gates, 64 + 512 and 512 + 512 features wide, and the last layer.
    forward = 2.0 * 50 * 50 * (4 * 512 * (576 + 1024) + 512 * 65)
    yield Row("charlm_train", "charlm training step, batch 50", CHARLM, "charlm", "train", 50, 50,
              {"text": tokens, "next": tokens}, times_three(forward), 0.80, ("torch", "jax"), ADAM)


ROWS = [*convolutional(), *recurrent()]


def chosen(patterns):
    """The rows of these names, in the table's order; a name may have wildcards."""
    unknown = [p for p in patterns if not any(fnmatch.fnmatch(row.name, p) for row in ROWS)]
    if unknown:
        raise SystemExit(f"no row is called {', '.join(unknown)}; there are {', '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if any(fnmatch.fnmatch(row.name, p) for p in patterns)]
