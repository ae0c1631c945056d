"""ONNX Runtime and OpenVINO, both on the graph that `onnx_graph.py` writes."""

import files


class System:
    def __init__(self, task, folder, mode):
        self.task, self.mode = task, mode
        self.folder = folder
        self.path = folder / f"{mode}.onnx"

    def prepare(self):
        """Writes the file; its making is no part of any time."""
        import onnx_graph

        # OpenVINO's reader of ONNX takes an LSTM with peepholes and computes one without.
        onnx_graph.write(self.task, files.weights(self.folder), self.path, unroll=self.mode == "openvino")

    def load(self):
        [(name, self.x)] = files.arrays(self.task, self.folder).items()
        threads = self.task["threads"]
        if self.mode == "onnxruntime":
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
            self.call = lambda: session.run(None, {name: self.x})[0]
        else:
            import openvino

            hints = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "ENABLE_CPU_PINNING": False,
            }
            request = openvino.Core().compile_model(str(self.path), "CPU", hints).create_infer_request()
            self.call = lambda: request.infer({0: self.x}, share_inputs=True, share_outputs=True)[0]

    def results(self):
        return {"output": files.steps_first(self.call(), self.task)}
