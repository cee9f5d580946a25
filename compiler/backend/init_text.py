"""`init_weights()`: the spec's init rules as text, modules by kind first, then what differs by path."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.backend.expressions import literal
from compiler.ir.program import Init, Program
from compiler.ir.values import Record, Value
from compiler.passes.initial import source_node

#: op -> the module that holds its weights; `{rank}` is the number of spatial axes
_MODULES = {
    "linear": "nn.Linear",
    "lora_linear": "LoraLinear",
    "embedding": "nn.Embedding",
    "layer_norm": "nn.LayerNorm",
    "rms_norm": "nn.RMSNorm",
    "conv": "nn.Conv{rank}d",
    "conv_transpose": "nn.ConvTranspose{rank}d",
    "group_norm": "nn.GroupNorm",
    "grouped_linear": "GroupedLinear",
}


def init_weights(program: Program) -> list[str]:
    """The method, or nothing for a spec without weights."""
    if not program.inits:
        return []
    common = _common(program.inits)
    lines = _by_kind(program, common)
    loop = ""
    for target, value, place in _special(program.inits, common):
        if place and place != loop:
            lines.append(f"for layer in {place}:")
        loop = place
        lines.append(("    " if loop else "") + statement(target, value))
    doc = '"""Initial values by the rules of the spec."""'
    return ["@torch.no_grad()", "def init_weights(self):", f"    {doc}", *(f"    {line}" for line in lines)]


def _by_kind(program: Program, common: Mapping[str, Value]) -> list[str]:
    """One loop over all modules, a branch for each kind."""
    if not common:
        return []
    shapes = {p.name: p.shape for p in program.stored}
    lines = ["for module in self.modules():"]
    word = "if"
    for op in dict.fromkeys(owner.split(".")[0] for owner in common):
        of_op = [i for i in program.inits if i.owner.startswith(f"{op}.")]
        ranks = sorted({len(shapes[i.parameter]) - 2 for i in of_op if i.owner.endswith(".weight")})
        kinds = list(dict.fromkeys(_MODULES[op].format(rank=rank) for rank in ranks)) or [_MODULES[op]]
        if op == "lora_linear":
            word = "if"  # it is a linear map too
        lines.append(
            f"    {word} isinstance(module, {kinds[0] if len(kinds) == 1 else '(' + ', '.join(kinds) + ')'}):"
        )
        word = "elif"
        counts = {w: sum(i.owner == f"{op}.{w}" for i in of_op) for w in ("weight", "bias")}
        for owner, value in common.items():
            if owner == f"{op}.bias" and counts["bias"] < counts["weight"]:
                lines += [
                    "        if module.bias is not None:",
                    f"            {statement('module.bias', value)}",
                ]
            elif owner.startswith(f"{op}."):
                lines.append(f"        {statement('module.' + owner.split('.')[1], value)}")
    return lines


def _common(inits: tuple[Init, ...]) -> dict[str, Value]:
    """For each op weight, the value that most of its tensors have."""
    counts: dict[str, dict[Value, int]] = {}
    for init in inits:
        if "." in init.owner and init.owner.split(".")[0] in _MODULES:
            values = counts.setdefault(init.owner, {})
            values[init.value] = values.get(init.value, 0) + 1
    return {owner: max(values, key=lambda v: values[v]) for owner, values in counts.items()}


def _special(inits: tuple[Init, ...], common: Mapping[str, Value]) -> list[tuple[str, Value, str]]:
    """The tensors that differ from their kind: (target, value, list of layers to loop over)."""
    found: dict[tuple[str, str], list[Value]] = {}
    for init in inits:
        if init.owner in common and init.value == common[init.owner]:
            continue
        loop, target = _place(init.parameter)
        found.setdefault((loop, target), []).append(init.value)
    out: list[tuple[str, Value, str]] = []
    for (loop, target), values in sorted(found.items()):
        out.append((target, values[0], loop))
    return out


def _place(parameter: str) -> tuple[str, str]:
    """`h.3.attn.o.weight` as ("self.h", "layer.attn.o.weight")."""
    parts = parameter.split(".")
    for k, part in enumerate(parts):
        if part.isdigit():
            return "self." + ".".join(parts[:k]), "layer." + ".".join(parts[k + 1 :])
    return "", f"self.{parameter}"


def statement(target: str, value: Value) -> str:
    """One call of torch.nn.init."""
    if value == "linear":
        return f"nn.init.kaiming_uniform_({target}, a=5**0.5)"
    if value == "normal":
        return f"nn.init.normal_({target}, std=0.02)"
    if value in ("zeros", "ones", "xavier_uniform"):
        return f"nn.init.{value}_({target})"
    assert isinstance(value, Record)
    name, params = value.items[0]
    source = source_node(value)
    if source is not None:
        return f"{target}.copy_({target.rpartition('.')[0]}.{source}({target}))"
    if name == "constant":
        return f"nn.init.constant_({target}, {_number(params)})"
    assert isinstance(params, Record)
    words = {"low": "a", "high": "b"}
    options = "".join(f", {words.get(k, k)}={_number(v)}" for k, v in params.items)
    return f"nn.init.{name}_({target}{options})"


def _number(value: Value) -> str:
    return literal(value if isinstance(value, int | float) else float(value))
