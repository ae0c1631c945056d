"""Recognizes handwritten digits through ctypes and numpy: no package but numpy, no framework.

    netc compile models/digits.net --embed-weights models/digits/digits.safetensors -o libdigits.so
    python3 digits.py ./libdigits.so models/digits/images.idx
"""

import ctypes
import sys

import numpy


class Network:
    """A network that was compiled to a shared library, by its name in C."""

    def __init__(self, path: str, name: str):
        library = ctypes.CDLL(path)
        self.functions = {f: getattr(library, f"{name}_{f}") for f in ("create", "destroy", "forward", "rank", "shape")}
        self.functions["shape"].argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t] + [ctypes.c_void_p] * 2
        self.functions["rank"].argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
        self.functions["rank"].restype = ctypes.c_size_t
        self.functions["forward"].argtypes = [ctypes.c_void_p] * 4
        self.functions["destroy"].argtypes = [ctypes.c_void_p]
        self.functions["destroy"].restype = None
        self.net = ctypes.c_void_p()
        status = self.functions["create"](None, ctypes.byref(self.net))
        if status != 0:
            raise RuntimeError(f"create: status {status}")

    def __call__(self, image: numpy.ndarray) -> numpy.ndarray:
        """One picture in, the first output out, both with the batch as their first axis."""
        image = numpy.ascontiguousarray(image, dtype=numpy.float32)
        outputs = 2  # The kind: OUTPUTS in the header.
        shape = (ctypes.c_size_t * self.functions["rank"](self.net, outputs, 0))()
        self.functions["shape"](self.net, outputs, 0, None, shape)
        output = numpy.empty(list(shape), dtype=numpy.float32)
        status = self.functions["forward"](
            self.net,
            None,
            (ctypes.c_void_p * 1)(image.ctypes.data),
            (ctypes.c_void_p * 1)(output.ctypes.data),
        )
        if status != 0:
            raise RuntimeError(f"forward: status {status}")
        return output

    def __del__(self):
        self.functions["destroy"](self.net)


def main() -> None:
    path, images = sys.argv[1:]
    pictures = numpy.fromfile(images, dtype=numpy.uint8)[16:].reshape(-1, 1, 1, 28, 28) / numpy.float32(255)
    network = Network(path, "digits")
    for number, picture in enumerate(pictures):
        print(f"picture {number} is a {network(picture)[0].argmax()}")


main()
