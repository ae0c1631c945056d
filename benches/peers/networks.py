"""The networks, once for all peers: each is a function of a backend's operations and its input.

A backend has `conv`, `batchnorm`, `relu`, `add`, `maxpool`, `global_avgpool`, `flatten`, `dense`, `embed` and `recurrent`,
which find their weights by netc's paths. Sequences have their steps first, as all peers like them best.
"""

# The recurrent layers of a network: path and kind.
RECURRENT = {
    **{f"{kind}_layer": {"cell": kind} for kind in ("lstm", "gru", "rnn", "mgu", "peephole", "conv_lstm")},
    "charlm": {"lstm1.1": "lstm", "lstm1.2": "lstm"},
}


def vgg16(o, x):
    for stage, layers in enumerate([2, 2, 3, 3, 3], 1):
        for layer in range(1, layers + 1):
            x = o.relu(o.conv(x, f"conv{stage}.{layer}", pad=1))
        x = o.maxpool(x, 2, 2)
    x = o.flatten(x)
    x = o.relu(o.dense(x, "dense1.1"))
    x = o.relu(o.dense(x, "dense1.2"))
    return o.dense(x, "logits")


def basic(o, x, path, stride, projects):
    y = o.relu(o.batchnorm(o.conv(x, f"{path}.conv1", stride, pad=1), f"{path}.batchnorm1"))
    y = o.batchnorm(o.conv(y, f"{path}.conv2", pad=1), f"{path}.batchnorm2")
    if projects:
        x = o.batchnorm(o.conv(x, f"{path}.conv3", stride), f"{path}.batchnorm3")
    return o.relu(o.add(y, x))


def resnet18(o, x):
    x = o.relu(o.batchnorm(o.conv(x, "conv1", 2, pad=3), "batchnorm1"))
    x = o.maxpool(x, 3, 2, pad=1)
    for stage in range(1, 5):
        x = basic(o, x, f"stage{stage}.basic1", 1 if stage == 1 else 2, stage > 1)
        x = basic(o, x, f"stage{stage}.basic2.1", 1, False)
    return o.dense(o.global_avgpool(x), "logits")


def layer(o, x):
    return o.recurrent(x, "cell")


def charlm(o, x):
    x = o.embed(x, "embed1")
    for path in ("lstm1.1", "lstm1.2"):
        x = o.recurrent(x, path)
    return o.dense(x, "logits")


NETWORKS = {name: layer for name in RECURRENT} | {"vgg16": vgg16, "resnet18": resnet18, "charlm": charlm}
