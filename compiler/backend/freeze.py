"""What an adapted model trains: the additions and what the spec names, nothing else."""

from __future__ import annotations

from compiler.ir.program import Program


def freeze(program: Program) -> list[str]:
    """Lines at the end of the root's constructor; none for a spec without adapters."""
    adapters = program.typed.graph.adapters
    if adapters is None:
        return []
    lines = [
        "self.requires_grad_(False)",
        "for module in self.modules():",
        "    if isinstance(module, LoraLinear):",
        "        module.lora_a.requires_grad_(True)",
        "        module.lora_b.requires_grad_(True)",
    ]
    for path in adapters.train:
        layers, star, rest = path.text.partition(".*")
        if not star:
            lines.append(f"self.{path.text}.requires_grad_(True)")
        else:
            lines += [f"for layer in self.{layers}:", f"    layer{rest}.requires_grad_(True)"]
    return lines
