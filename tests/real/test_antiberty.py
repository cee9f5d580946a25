"""AntiBERTy: a language model of antibodies, pickled, with three heads that the spec leaves out."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BertForMaskedLM

import runtime
from tests.artifacts import need

#: A heavy chain's variable region, and a shorter piece of it that is padded.
CHAIN = "EVQLVESGGGLVQPGGSLRLSCAASGFTFSSYAMSWVRQAPGKGLEWVSAISGSGGSTYYADSVKG"
HIDDEN = 24


def tokenised() -> tuple[torch.Tensor, torch.Tensor]:
    """[CLS] residues [SEP], the second row padded, one residue of the first hidden."""
    names = (need("antiberty").parents[1] / "vocab.txt").read_text().split("\n")
    ids = {name: i for i, name in enumerate(names)}
    rows = [[ids["[CLS]"], *(ids[residue] for residue in text), ids["[SEP]"]] for text in (CHAIN, CHAIN[:40])]
    rows[0][HIDDEN] = ids["[MASK]"]
    tokens = torch.full((2, len(rows[0])), ids["[PAD]"])
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = True
    return tokens, mask


def test_equal_to_transformers() -> None:
    tokens, mask = tokenised()
    folder = need("antiberty").parent
    reference = BertForMaskedLM.from_pretrained(folder).eval()
    model: Any = runtime.load(folder)
    with torch.no_grad():
        theirs = reference(input_ids=tokens, attention_mask=mask.long()).logits[mask]
        assert float((model(tokens, mask=mask)[mask] - theirs).abs().max()) <= 1e-5
        model.get_parameter("h.7.attn.o.weight")[0, 0] += 1e-1
        assert float((model(tokens, mask=mask)[mask] - theirs).abs().max()) > 1e-5


def test_it_restores_the_hidden_residue() -> None:
    tokens, mask = tokenised()
    with torch.no_grad():
        logits = runtime.load(need("antiberty").parent)(tokens, mask=mask)
    names = (need("antiberty").parents[1] / "vocab.txt").read_text().split("\n")
    assert names[int(logits[0, HIDDEN].argmax())] == CHAIN[HIDDEN - 1]
