"""Functions that frameworks have and blocks lack, as the ops that make them, and GELU found again in
the pieces that exporters cut it into."""

from __future__ import annotations

import math

from mlpserve.block import Add, AddInput, BatchNorm, Function, Gate, Hardtanh, Op, Ops, Residual, Scale

ERF = "erf"  # exists only until fused() has found the GELU around it
SQUARE = Gate((Scale(1.0),))


def negated() -> Ops:
    return (Scale(-1.0),)


def absolute() -> Ops:
    return (Residual((Hardtanh(max=0.0), Scale(-2.0))),)


def relu6() -> Ops:
    return (Hardtanh(0.0, 6.0),)


def selu(alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Ops:
    return (Function("elu", alpha), Scale(gamma))


def celu(alpha: float = 1.0) -> Ops:
    return (Scale(1 / alpha), Function("elu", 1.0), Scale(alpha))


def logsigmoid() -> Ops:
    return (Scale(-1.0), Function("softplus"), Scale(-1.0))


def softplus(beta: float = 1.0) -> Ops:
    if beta == 1:
        return (Function("softplus"),)
    return (Scale(beta), Function("softplus"), Scale(1 / beta))


def tanhshrink() -> Ops:
    return (Residual((Function("tanh"), Scale(-1.0))),)


def softshrink(bound: float) -> Ops:
    return (Residual((Hardtanh(-bound, bound), Scale(-1.0))),)


def hardsigmoid(alpha: float, beta: float) -> Ops:
    """clamp(alpha · z + beta, 0, 1), as ONNX defines it."""
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return (Function("hardsigmoid"),)
    return (Scale(alpha), Add(beta), Hardtanh(0.0, 1.0))


def swish(alpha: float = 1.0) -> Ops:
    if alpha == 1:
        return (Function("silu"),)
    return (Gate((Scale(alpha), Function("sigmoid"))),)


def powered(exponent: float) -> Ops | None:
    """z to a small whole power, or None."""
    known: dict[float, Ops] = {1: (), 2: (SQUARE,), 3: (Gate((SQUARE,)),), 4: (SQUARE, SQUARE)}
    return known.get(exponent)


def as_leaky_relu(slope: float) -> Ops:
    return (Function("relu"),) if slope == 0 else (Function("leaky_relu", slope),)


def fused(ops: Ops) -> Ops:
    """The same ops with GELU and SiLU under their names where they were written out."""
    done: list[Op] = []
    for op in ops:
        if isinstance(op, (Residual, Gate)):
            op = type(op)(fused(op.ops))
        if isinstance(op, Gate):
            gelu = _gelu_twice(op.ops)
            if gelu is not None:
                done.extend((Function(gelu[0]), Scale(2.0 * gelu[1])))
                continue
            if op.ops == (Function("sigmoid"),):
                op = Function("silu")
        if isinstance(op, Scale) and done and isinstance(done[-1], Scale):
            before = done[-1].by
            if (isinstance(before, float) and isinstance(op.by, float)
                    and 1e-30 < abs(before * op.by) < 1e30):  # far from FP32's limits
                op = Scale(before * op.by)
                done.pop()
        if op == Scale(1.0) and done:
            continue
        done.append(op)
    return tuple(done)


def _gelu_twice(gate: Ops) -> tuple[str, float] | None:
    """The GELU and the factor s for which the gate is 2 · s · GELU(z), where s is 1 or a final scale."""
    factor = 1.0
    if gate and isinstance(gate[-1], Scale) and isinstance(gate[-1].by, float):
        factor, gate = gate[-1].by, gate[:-1]
    if not gate or gate[-1] != Add(1.0):
        return None
    inner = gate[:-1]
    if len(inner) == 2 and _is_scale(inner[0], math.sqrt(0.5)) and inner[1] == Function(ERF):
        return "gelu", factor
    if len(inner) == 3 and inner[2] == Function("tanh") and _is_tanh_polynomial(inner[:2]):
        return "gelu_tanh", factor
    return None


def _is_tanh_polynomial(ops: Ops) -> bool:
    """sqrt(2 / pi) · (z + 0.044715 · z³)"""
    cubic, scale = ops
    if not isinstance(cubic, Residual) or not _is_scale(scale, math.sqrt(2 / math.pi)):
        return False
    cube = (Gate((SQUARE,)),)
    return cubic.ops[:-1] == cube and _is_scale(cubic.ops[-1], 0.044715)


def _is_scale(op: Op, value: float) -> bool:
    return (isinstance(op, Scale) and isinstance(op.by, float)
            and math.isclose(op.by, value, rel_tol=1e-5))


def describe(op: Op) -> str:
    if isinstance(op, Function):
        return op.name
    names = {Scale: "scale", Add: "add", Hardtanh: "hardtanh", Residual: "residual", Gate: "gate",
             AddInput: "add_input", BatchNorm: "batch_norm"}
    return names[type(op)]
