"""Descendants of BERT and its heads against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers as hf

from tests.parity import encoders
from tests.parity.encoders import HEAD, TRUNK
from tests.parity.harness import check

BERT = {
    "vocab_size": 101, "max_position_embeddings": 23, "type_vocab_size": 3, "hidden_size": 24,
    "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
}  # fmt: skip
ALBERT = BERT | {"embedding_size": 10}
DISTILBERT = {
    "vocab_size": 101, "max_position_embeddings": 23, "dim": 24, "n_layers": 2, "n_heads": 3,
    "hidden_dim": 40,
}  # fmt: skip
HIDDEN = {"hidden": "last_hidden_state"}
Config = dict[str, Any]

BERT_KINDS = [
    (hf.BertForSequenceClassification, HEAD, {"num_labels": 5}),
    (hf.BertForSequenceClassification, HEAD, {}),
    (hf.BertForTokenClassification, HEAD, {"num_labels": 4, "num_hidden_layers": 11}),
]


@pytest.mark.parametrize(("kind", "names", "config"), BERT_KINDS)
def test_bert_heads(kind: Any, names: dict[str, str], config: Config, tmp_path: Path) -> None:
    check(encoders.case(kind, hf.BertConfig(**BERT | config), 9, names), tmp_path)


#: Few words, so that some of the tokens are padding.
ROBERTA: list[Config] = [
    {"vocab_size": 7},
    {
        "vocab_size": 7,
        "pad_token_id": 4,
        "num_hidden_layers": 11,
        "layer_norm_eps": 1e-3,
        "hidden_act": "relu",
    },
]


@pytest.mark.parametrize("config", ROBERTA, ids=str)
@pytest.mark.parametrize(("kind", "names"), [(hf.RobertaModel, TRUNK), (hf.RobertaForMaskedLM, HEAD)])
def test_roberta(kind: Any, names: dict[str, str], config: Config, tmp_path: Path) -> None:
    """The tokens hold padding in the middle too, which shifts the positions behind it."""
    check(encoders.case(kind, hf.RobertaConfig(**BERT | config), 9, names), tmp_path)


ALBERTS: list[Config] = [{}, {"num_hidden_layers": 11, "num_hidden_groups": 3, "hidden_act": "gelu"}]


@pytest.mark.parametrize("config", ALBERTS, ids=str)
@pytest.mark.parametrize(("kind", "names"), [(hf.AlbertModel, TRUNK), (hf.AlbertForMaskedLM, HEAD)])
def test_albert(kind: Any, names: dict[str, str], config: Config, tmp_path: Path) -> None:
    check(encoders.case(kind, hf.AlbertConfig(**ALBERT | config), 9, names), tmp_path)


DISTILBERTS: list[Config] = [{}, {"n_layers": 11, "activation": "relu"}]


@pytest.mark.parametrize("config", DISTILBERTS, ids=str)
@pytest.mark.parametrize(("kind", "names"), [(hf.DistilBertModel, HIDDEN), (hf.DistilBertForMaskedLM, HEAD)])
def test_distilbert(kind: Any, names: dict[str, str], config: Config, tmp_path: Path) -> None:
    check(encoders.case(kind, hf.DistilBertConfig(**DISTILBERT | config), 9, names), tmp_path)
