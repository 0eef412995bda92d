"""What a PyTorch module holds that a block cannot is refused by the module's path."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import mlpserve  # noqa: E402
from mlpserve.frontends import lower  # noqa: E402


class Of(nn.Module):
    """A Linear from 4 to 6 columns as `inner.linear`, and a function of it, the input and the module."""

    def __init__(self, then, **modules):
        super().__init__()
        self.inner = nn.Module()
        self.inner.linear = nn.Linear(4, 6)
        self.other = nn.Linear(4, 6)
        self.then = then
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.then(self, self.inner.linear(x), x)


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Split(nn.Module):
    """SwiGLU: two products that meet."""

    def __init__(self):
        super().__init__()
        self.gate, self.up = nn.Linear(4, 8), nn.Linear(4, 8)

    def forward(self, x):
        return nn.functional.silu(self.gate(x)) * self.up(x)


CASES = {
    "softmax module": (nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), ["1 (Softmax)", "leave it out"]),
    "layer norm": (nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.LayerNorm(4))), ["1.0 (LayerNorm)", "BatchNorm1d"]),
    "convolution": (nn.Sequential(nn.Conv1d(1, 1, 3)), ["0 (Conv1d)", "a block can hold linear layers"]),
    "no linear": (nn.Sequential(nn.ReLU()), ["at least one linear layer"]),
    "activation first": (nn.Sequential(nn.ReLU(), nn.Linear(4, 4)), ["0 (ReLU)", "before the first linear layer"]),
    "widths": (nn.Sequential(nn.Linear(4, 5), nn.Linear(6, 2)), ["1 (Linear)", "expected 5 inputs"]),
    "two products meet": (nn.Sequential(nn.Linear(4, 4), Split()), ["1 (Split): mul", "1.up (Linear)"]),
    "branch": (nn.Sequential(nn.Linear(4, 4), Branching()), ["1 (Branching)", "cannot be traced"]),
    "skip of a hidden layer": (Of(lambda m, z, x: m.down(torch.relu(z)) + z, down=nn.Linear(6, 6)),
                               ["add", "down (Linear)", "inner.linear (Linear)"]),
    "two outputs": (Of(lambda m, z, x: (z, x)), ["expected one tensor", "found 2 of them"]),
    "outputs by name": (Of(lambda m, z, x: {"logits": z}), ["expected one tensor", "found a dict with logits"]),
    "dropout always": (Of(lambda m, z, x: nn.functional.dropout(z, 0.1)), ["dropout", "training=self.training"]),
    "part of a product": (Of(lambda m, z, x: z[:, :3] * z[:, 3:]), ["getitem", "taking a part of a tensor"]),
    "divide by a function": (Of(lambda m, z, x: 1 / z), ["truediv", "dividing by what depends on the input"]),
    "unknown function": (Of(lambda m, z, x: torch.erf(z)), ["erf", "cannot be expressed"]),
    "sum over rows": (Of(lambda m, z, x: z.sum(0)), ["sum", "cannot be expressed"]),
    "softmax function": (Of(lambda m, z, x: z.softmax(-1)), ["softmax", "leave it out"]),
    "half on the way": (Of(lambda m, z, x: z.to(torch.float16)), ["torch.float16", "compute="]),
    "wrong column": (Of(lambda m, z, x: z * torch.ones(5)), ["one for each column [6]", "found [5]"]),
    "rows by number": (Of(lambda m, z, x: z * torch.ones(3, 6)), ["found [3, 6]"]),
    "batch statistics in a gate": (Of(lambda m, z, x: z * m.bn(z), bn=nn.BatchNorm1d(6, track_running_stats=False)),
                                   ["batch statistics inside a residual or a gate"]),
    "lazy": (nn.Sequential(nn.LazyLinear(4)), ["0.weight", "uninitialized"]),
    "other width added": (Of(lambda m, z, x: z + x), ["input of 4 features to the 6"]),
}


@pytest.mark.parametrize("name", CASES)
def test_refusal_names_the_module_and_its_path(name):
    model, says = CASES[name]
    with pytest.raises(mlpserve.ExportError) as raised:
        lower(model)
    text = str(raised.value)
    assert "\n" not in text
    for word in says:
        assert word in text, text


def test_a_quantized_module_is_told_from_the_one_before():
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear})
    with pytest.raises(mlpserve.ExportError, match=r"0 \(Linear\).*before it was quantized"):
        lower(model)


def test_a_forward_hook_is_found_out(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model[1].register_forward_hook(lambda module, args, result: result + 1)
    with pytest.raises(mlpserve.ExportError, match="computes something else"):
        mlpserve.export(model, tmp_path / "block")


def test_the_model_is_left_as_it_was(tmp_path):
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Dropout(0.5))
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mlpserve.export(model, tmp_path / "block", batch_statistics=False)
    assert [m.training for m in model.modules()] == [True, True, True, False]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.get_default_dtype() == torch.float32


def test_compiled_and_wrapped_models_are_unwrapped():
    inner = nn.Sequential(nn.Linear(4, 4))
    for model in (nn.DataParallel(inner), torch.compile(inner)):
        assert lower(model).block.layers[0].weight == "0.weight"


@pytest.mark.parametrize("model, says", [
    (nn.Sequential(nn.Linear(4, 4)).state_dict(), "OrderedDict"),
    (torch.zeros(3, 3), "Tensor"),
    (torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), "TorchScript"),
], ids=["state dict", "tensor", "TorchScript"])
def test_what_is_no_module_is_named(model, says):
    with pytest.raises(mlpserve.ExportError, match=says):
        lower(model)
