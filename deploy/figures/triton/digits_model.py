"""The digits block in NumPy, as a user of Triton's Python backend would write it: one call for all
queued requests together. The parameter "weights" of config.pbtxt names the safetensors file."""

import json

import numpy as np
import safetensors.numpy
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        w = self.w = safetensors.numpy.load_file(parameters["weights"]["string_value"])
        norm = w["bn.weight"] / np.sqrt(w["bn.running_var"] + 1e-5)
        self.w0 = (w["fc0.weight"] * (w["fc0.scale"] * norm)[:, None]).T.copy()
        self.b0 = w["fc0.bias"] * w["fc0.scale"] * norm + w["bn.bias"] - w["bn.running_mean"] * norm

    def forward(self, x):
        w = self.w
        z = x @ self.w0 + self.b0
        z = z @ w["fc1.weight"].T + w["fc1.bias"]
        z = z + 2 / (1 + np.exp(-z))
        z = np.clip(0.5 * (z @ w["fc2.weight"].T + w["fc2.bias"]), -2, 2)
        z = 0.5 * z * (1 + np.tanh(0.7978845608 * (z + 0.044715 * z**3)))
        return (z @ w["fc3.weight"].T + w["fc3.bias"]).astype(np.float32)

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(r, "x").as_numpy() for r in requests]
        y = self.forward(np.concatenate(inputs))
        ends = np.cumsum([len(x) for x in inputs])
        return [pb_utils.InferenceResponse([pb_utils.Tensor("logits", y[end - len(x):end])])
                for x, end in zip(inputs, ends)]
