"""docs/families.md: what each family costs in YAML and in ops. `python -m tests.families_page` writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from compiler.ops.table import OPS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "families.md"
#: The specs of each family; what follows `Mistral` came last, and had to cost YAML alone.
FAMILIES: dict[str, tuple[str, ...]] = {
    "Lessons": (
        "starter_attention", "starter_cross_attention", "starter_einsum_attention", "starter_grouped_query",
        "starter_patchify", "starter_rotary",
    ),
    "GPT-2": ("gpt2", "char_gpt"),
    "LLaMA": ("llama",),
    "BERT": ("bert", "bert_mlm", "bert_classifier", "bert_tagger", "mlm"),
    "DeBERTa v2 and v3": ("deberta_v3", "deberta_v3_classifier"),
    "ViT": ("vit_encoder", "vit", "vit_gap", "simple_vit"),
    "Masked autoencoder": ("vit_mae_encoder", "vit_mae", "simple_mae"),
    "CLIP": ("clip_vitb32", "clip_image", "clip_text"),
    "ConvNeXt and liteCLIP": ("convnext", "liteclip"),
    "Encoder-decoder": ("transformer", "translation"),
    "BART and Marian": ("bart", "marian"),
    "T5": ("t5",),
    "UNETR": ("unetr",),
    "Mistral": ("mistral",),
    "Mixtral": ("mixtral",),
    "Qwen2": ("qwen2",),
    "Qwen3": ("qwen3",),
    "Gemma 2": ("gemma2",),
    "GPT-NeoX": ("gpt_neox",),
    "Whisper": ("whisper",),
    "RoBERTa": ("roberta", "roberta_mlm"),
    "DistilBERT": ("distilbert", "distilbert_mlm"),
    "ALBERT": ("albert", "albert_mlm"),
    "DINOv2": ("dinov2", "dinov2_classifier", "dinov2_registers"),
    "SigLIP": ("siglip",),
}  # fmt: skip
LAST = tuple(FAMILIES)[tuple(FAMILIES).index("Mistral") :]
#: What the compiler makes once of the masks and angles that layers share.
PREPARED = {"attention": "attention_mask", "rotate": "rotation"}
_HEAD = """\
# What a family costs

Lines of YAML: of its specs, of the blocks that no other family uses, and of its weight maps with their
tables of configs, fragments that maps share left out. Ops of its own: primitives, each of them Python,
that no other family uses. There are {count} ops in all; `attention_mask` and `rotation` are what the
compiler prepares once for the `attention` and the `rotate` of all layers, `lora_linear` is what
`adapters` make of `linear`. The two ops of Mixtral are what any mixture of experts is made of.

| family | specs | blocks of its own | maps | ops of its own |
|---|---:|---:|---:|---|
"""
_TAIL = """
How the language was made general where it lacked something is in the records of decisions on [config
tables](adr/0009-config-tables-classes-and-silence.md), [edits](adr/0010-edits-of-inputs.md), [parameters
filled by a node](adr/0013-parameters-filled-by-a-node.md), [layers of several
kinds](adr/0014-layers-of-several-kinds.md), [masks of softmax](adr/0015-masks-of-softmax.md), [null as a
value](adr/0016-null-as-a-value-of-configs.md) and [stages and lists](adr/0017-stages-and-lists.md).

Made from `specs`, `weightmaps` and `compiler/ops` by `python -m tests.families_page`.
"""


def _documents() -> dict[str, str]:
    """The text of every block that has a file."""
    texts = (file.read_text(encoding="utf-8") for file in sorted((ROOT / "specs" / "blocks").glob("*.yaml")))
    found = (part for text in texts for part in re.split(r"^---\n", text, flags=re.MULTILINE))
    return {part.split()[1]: part for part in found}


BLOCKS = _documents()


def _spec(name: str) -> str:
    return (ROOT / "specs" / f"{name}.yaml").read_text(encoding="utf-8")


def _texts(text: str, seen: dict[str, str]) -> dict[str, str]:
    """The blocks that a text names, whatever a condition chooses of them, and those that they name."""
    words = re.findall(r"\b(?:use|extends)\b: *([^,}\n]+)", text)
    for name in (name for value in words for name in re.findall(r"\w+", value) if name in BLOCKS):
        if name not in seen:
            seen[name] = BLOCKS[name]
            _texts(BLOCKS[name], seen)
    return seen


def _with_parents(name: str) -> Iterator[str]:
    text = _spec(name)
    yield text
    parent = re.search(r"^extends: *(\w+)", text, flags=re.MULTILINE)
    if parent is not None:
        yield from _with_parents(parent[1])


def blocks(family: str) -> dict[str, str]:
    """The blocks of a family and their texts."""
    seen: dict[str, str] = {}
    for spec in FAMILIES[family]:
        for text in _with_parents(spec):
            _texts(text, seen)
    return seen


def ops(family: str) -> set[str]:
    """The ops that the family's specs and blocks name."""
    texts = [text for spec in FAMILIES[family] for text in _with_parents(spec)] + [*blocks(family).values()]
    named = {op for text in texts for op in re.findall(r"\bop: *(\w+)", text)}
    return named | {made for op, made in PREPARED.items() if op in named}


def own_ops(family: str) -> list[str]:
    """The ops that no other family names."""
    return sorted(ops(family) - {op for other in FAMILIES if other != family for op in ops(other)})


def page() -> str:
    """The whole text."""
    everyone = {family: blocks(family) for family in FAMILIES}
    rows = []
    for family, specs in FAMILIES.items():
        elsewhere = {name for other in FAMILIES if other != family for name in everyone[other]}
        own = sum(_lines(text) for name, text in everyone[family].items() if name not in elsewhere)
        maps = [file for spec in specs for file in (ROOT / "weightmaps").glob(f"{spec}.*.yaml")]
        written = sum(_lines(file.read_text(encoding="utf-8")) for file in maps)
        lines = sum(_lines(_spec(spec)) for spec in specs)
        rows.append(f"| {family} | {lines} | {own} | {written} | {', '.join(own_ops(family)) or 'none'} |\n")
    return _HEAD.format(count=len(OPS)) + "".join(rows) + _TAIL


def _lines(text: str) -> int:
    """Lines that say something."""
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
