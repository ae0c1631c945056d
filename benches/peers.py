"""Times VGG-16's forward pass and LeNet's training beside netc, in one run, alternating.

    python -m venv peers-home && peers-home/bin/pip install numpy onnx onnxruntime torch
    cargo build --release --benches
    peers-home/bin/python benches/peers.py [threads]

Prints medians and ratios. The machine may be shared: only figures of one run compare.
"""

import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

ROOT = pathlib.Path(__file__).parent.parent
ROUNDS, CALLS = 5, 5


def vgg16():
    """VGG-16 as ONNX, with random weights."""
    random = np.random.default_rng(1)
    nodes, weights = [], []
    flow, channels = "image", 3

    def parameter(name, *shape):
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.01
        values = (random.standard_normal(shape, dtype=np.float32) * scale).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(values, name))
        return name

    def add(kind, inputs, **attributes):
        nonlocal flow
        flow = f"v{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [flow], **attributes))

    for n, repeat in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        for _ in range(repeat):
            at = len(nodes)
            add("Conv", [flow, parameter(f"w{at}", n, channels, 3, 3), parameter(f"b{at}", n)], pads=[1, 1, 1, 1])
            add("Relu", [flow])
            channels = n
        add("MaxPool", [flow], kernel_shape=[2, 2], strides=[2, 2])
    add("Flatten", [flow])
    inputs = 512 * 7 * 7
    for n in (4096, 4096, 1000):
        at = len(nodes)
        add("Gemm", [flow, parameter(f"w{at}", n, inputs), parameter(f"b{at}", n)], transB=1)
        if n != 1000:
            add("Relu", [flow])
        inputs = n
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 224, 224])
    logits = helper.make_tensor_value_info(flow, TensorProto.FLOAT, [1, 1000])
    graph = helper.make_graph(nodes, "vgg16", [image], [logits], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def onnx_runtime(threads):
    path = ROOT / "target" / "vgg16.onnx"
    path.parent.mkdir(exist_ok=True)
    onnx.save(vgg16(), str(path), save_as_external_data=True, location="vgg16.onnx.data")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(2).standard_normal((1, 3, 224, 224), dtype=np.float32)
    return lambda: session.run(None, {"image": image})


def times(call):
    samples = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        samples.append((time.perf_counter() - start) * 1e3)
    return samples


def main():
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    peer = onnx_runtime(threads)
    peer()
    command = ["cargo", "bench", "--quiet", "--bench", "forward", "--", "models/vgg16.net", str(threads), str(CALLS)]
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs += times(peer)
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        ours += [float(line) for line in output.split()]
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"VGG-16 forward, batch 1, {threads} threads: netc {a:.1f} ms, ONNX Runtime {b:.1f} ms, ratio {a / b:.2f}")


main()
