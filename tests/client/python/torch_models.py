"""PyTorch models of different shape; each function makes one, with numbers that are not the initial ones."""

import torch
import torch.nn.functional as F
from torch import nn

MODELS = {}
KERNELBENCH = {}  # chains of KernelBench's level 2 that begin with a product, by its problem's number


def model(made):
    MODELS[made.__name__] = made
    return made


def problem(number):
    def register(made):
        KERNELBENCH[f"kernelbench_{number}"] = made
        return made
    return register


def make(name):
    torch.manual_seed(sum(map(ord, name)))
    made = {**MODELS, **KERNELBENCH}[name]()
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.SyncBatchNorm)) and module.running_var is not None:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_()
    return made


class Chain(nn.Module):
    """One Linear, then a function of its product."""

    def __init__(self, inputs, outputs, then, bias=True, **parameters):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=bias)
        self.then = then
        for name, parameter in parameters.items():
            self.register_parameter(name, nn.Parameter(parameter))

    def forward(self, x):
        return self.then(self, self.linear(x))


@problem(9)
def subtract_multiply_relu():
    return Chain(96, 160, lambda m, z: torch.relu((z - 2.0) * 1.5))


@problem(12)
def multiply_leaky_relu():
    made = Chain(64, 200, lambda m, z: m.activation(z * 2.0))
    made.activation = nn.LeakyReLU(0.1)
    return made


@problem(29)
def mish_mish():
    return Chain(128, 64, lambda m, z: F.mish(F.mish(z)))


@problem(33)
def scale_batch_norm():
    made = Chain(80, 96, lambda m, z: m.bn(z * m.scale), scale=torch.randn(96))
    made.bn = nn.BatchNorm1d(96, eps=1e-5)
    return made


@problem(39)
def scale_batch_norm_other_eps():
    made = Chain(300, 48, lambda m, z: m.bn(z * m.scale), scale=torch.randn(48))
    made.bn = nn.BatchNorm1d(48, eps=1e-3, momentum=0.3)
    return made


@problem(40)
def scaling_residual():
    def then(m, z):
        original = z.clone().detach()
        return z * 0.5 + original
    return Chain(72, 130, then)


@problem(41)
def batch_norm_gelu_relu():
    made = Chain(66, 120, lambda m, z: torch.relu(F.gelu(m.bn(z))))
    made.bn = nn.BatchNorm1d(120)
    return made


@problem(53)
def scaling_hardtanh_gelu():
    made = Chain(256, 128, lambda m, z: m.gelu(m.hardtanh(z * 0.5)))
    made.hardtanh, made.gelu = nn.Hardtanh(-2, 2), nn.GELU()
    return made


@problem(59)
def swish_scaling():
    return Chain(100, 90, lambda m, z: z * torch.sigmoid(z) * 2.0)


@problem(63)
def relu_divide():
    return Chain(50, 70, lambda m, z: torch.relu(z) / 2.0)


@problem(68)
def minimum_subtract():
    return Chain(33, 47, lambda m, z: torch.min(z, m.constant) - m.constant, constant=torch.tensor(0.2))


@problem(70)
def sigmoid_scaling_residual():
    return Chain(77, 111, lambda m, z: torch.sigmoid(z) * 2.0 + z)


@problem(76)
def add_relu():
    return Chain(88, 99, lambda m, z: torch.relu(z + m.add), bias=False, add=torch.randn(99))


@problem(81)
def swish_divide_clamp_tanh_clamp():
    def then(m, z):
        z = z * torch.sigmoid(z) / 2.0
        z = torch.tanh(torch.clamp(z, min=-1.0, max=1.0))
        return torch.clamp(z, min=-1.0, max=1.0)
    return Chain(64, 64, then)


@problem(86)
def divide_gelu():
    return Chain(90, 45, lambda m, z: F.gelu(z / 10.0))


@problem(95)
def add_swish_tanh_gelu_hardtanh():
    def then(m, z):
        z = z + m.add
        z = torch.sigmoid(z) * z
        return F.hardtanh(F.gelu(torch.tanh(z)), min_val=-1, max_val=1)
    return Chain(61, 67, then, add=torch.randn(67))


@problem(97)
def batch_norm_add_divide_swish():
    def then(m, z):
        z = (m.bn(z) + m.shift) / 1.5
        return z * torch.sigmoid(z)
    made = Chain(140, 30, then, shift=torch.randn(1))
    made.bn = nn.BatchNorm1d(30)
    return made


@model
def one_linear():
    return nn.Linear(1, 1)


@model
def one_linear_without_bias():
    return nn.Sequential(nn.Linear(17, 5, bias=False))


@model
def ranking_tower():
    return nn.Sequential(nn.BatchNorm1d(96), nn.Linear(96, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 64),
                         nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())


@model
def deep_and_narrow():
    return nn.Sequential(nn.Linear(10, 9), *[part for _ in range(8) for part in (nn.Tanh(), nn.Linear(9, 9))])


@model
def wide():
    return nn.Sequential(nn.Linear(512, 1024), nn.GELU(approximate="tanh"), nn.Linear(1024, 256))


@model
def every_activation():
    kinds = [nn.ReLU6(), nn.LeakyReLU(0.2), nn.ELU(0.7), nn.SELU(), nn.CELU(1.3), nn.Tanh(), nn.SiLU(), nn.Mish(),
             nn.Hardsigmoid(), nn.Hardswish(), nn.GELU(), nn.Softplus(2.0), nn.LogSigmoid(), nn.Tanhshrink(),
             nn.Softshrink(0.3), nn.Threshold(0.1, 0.1), nn.Hardtanh(-0.5, 0.25), nn.RReLU(), nn.Identity()]
    return nn.Sequential(*[part for kind in kinds for part in (nn.Linear(12, 12), kind)])


@model
def nested_sequentials():
    return nn.Sequential(nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Sequential(nn.Sequential(nn.Linear(16, 4))))


class Residual(nn.Module):
    def __init__(self, *inner):
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x):
        return x + self.inner(x)


class Gated(nn.Module):
    def __init__(self, *inner):
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x):
        return x * self.inner(x)


@model
def residual_around_the_block():
    return Residual(nn.Linear(24, 80), nn.ReLU(), nn.Linear(80, 24))


@model
def residual_and_gate_within_a_layer():
    return nn.Sequential(nn.Linear(20, 40), Residual(nn.Tanh(), Gated(nn.Sigmoid())), nn.Linear(40, 8),
                         Gated(nn.BatchNorm1d(8), nn.Hardsigmoid()))


class SkipScaledInput(nn.Module):
    """The input is normalized first, and it is the normalized one that is added."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(16)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        x = self.norm(x)
        return self.down(F.silu(self.up(x))) - 0.5 * x


@model
def skip_of_the_scaled_input():
    return SkipScaledInput()


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(14, 14)
        self.second = nn.Linear(14, 14)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(F.relu(self.first(x)))


@model
def tied_weights():
    return Tied()


class ByHand(nn.Module):
    """No module but parameters, and every way to write a product."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.randn(11, 13))
        self.b = nn.Parameter(torch.randn(7, 13) / 4)
        self.c = nn.Parameter(torch.randn(7, 5) / 4)
        self.bias = nn.Parameter(torch.randn(5))
        self.register_buffer("gain", torch.tensor([1.0, 2.0, -1.0, 0.5, 3.0]))

    def forward(self, x):
        z = x @ self.a
        z = torch.relu_(z)
        z = torch.matmul(z, self.b.t()).tanh()
        z = torch.addmm(self.bias, z, self.c)
        z = F.linear(z, torch.eye(5) * 2.0)
        return 3.0 - z / self.gain


@model
def products_by_hand():
    return ByHand()


class Image(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.net = nn.Sequential(nn.Linear(49, 20), nn.ReLU(), nn.Linear(20, 10))

    def forward(self, x, scale: float = 1.5, mask=None):
        if mask is not None:
            x = x * mask
        z = self.net(self.flatten(x)) * scale
        return z.view(z.size(0), -1)


@model
def flattened_image_with_optional_arguments():
    return Image()


@model
def half_precision():
    return nn.Sequential(nn.Linear(31, 15), nn.ReLU(), nn.Linear(15, 3)).half()


@model
def bfloat16_weights():
    return nn.Sequential(nn.Linear(31, 15), nn.ReLU(), nn.BatchNorm1d(15), nn.Linear(15, 3)).bfloat16()


@model
def double_precision():
    return nn.Sequential(nn.Linear(31, 15), nn.ELU(), nn.Linear(15, 3)).double()


@model
def prelu_of_each_channel():
    made = nn.Sequential(nn.Linear(9, 6), nn.PReLU(6), nn.Linear(6, 6), nn.PReLU())
    nn.init.normal_(made[1].weight)
    return made


@model
def weight_norm():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(18, 6)), nn.Tanh(), nn.Linear(6, 2))


@model
def batch_norm_without_affine():
    return nn.Sequential(nn.Linear(9, 30), nn.BatchNorm1d(30, affine=False), nn.SiLU(), nn.Linear(30, 2))


@model
def trained_on_several_gpus():
    return nn.Sequential(nn.Linear(14, 22), nn.SyncBatchNorm(22), nn.ReLU(), nn.Linear(22, 3))


@model
def powers():
    return Chain(8, 8, lambda m, z: z.pow(2) + z.abs().neg() if False else z * z * 0.25 + z)


class Poly(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 12)

    def forward(self, x):
        z = self.linear(x)
        return 0.5 * z * (1 + torch.tanh(0.7978845608028654 * (z + 0.044715 * torch.pow(z, 3))))


@model
def gelu_written_out():
    return Poly()
