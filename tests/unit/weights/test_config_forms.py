"""Forms of a config table: classes counted by their names, values built in, words that stand for no text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers as hf

from compiler.weights.config import recognise
from compiler.weights.config_write import write_config
from tests.unit.weights.test_config import LIBRARY, faults, folder, saved, table

SIZES: dict[str, Any] = {
    "vocab_size": 11, "max_position_embeddings": 9, "hidden_size": 6, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 8,
}  # fmt: skip


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_classes_are_counted_by_their_names(classes: int, tmp_path: Path) -> None:
    """transformers writes no names where there are two."""
    config = hf.BertConfig(**SIZES, num_labels=classes)
    found = recognise(saved(tmp_path, config, "BertForSequenceClassification"), LIBRARY)
    assert (found.spec, found.set["classes"]) == ("bert_classifier", classes)
    again = hf.AutoConfig.from_pretrained(
        folder(tmp_path, write_config(found.map, table(found.spec, dict(found.set))))
    )
    assert again.num_labels == classes


def test_a_count_must_agree_with_the_names(tmp_path: Path) -> None:
    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], "num_labels": 3}
    assert "`num_labels` is 3; the spec bert_classifier has 2 built in" in faults(folder(tmp_path, config))
    named = {"id2label": {"0": "good", "1": "bad", "2": "ugly"}}
    assert recognise(folder(tmp_path, config | named), LIBRARY).set["classes"] == 3


def test_silence_where_the_library_assumes_another_value(tmp_path: Path) -> None:
    config: dict[str, Any] = {"model_type": "deberta-v2", "position_buckets": 4, "type_vocab_size": 0}
    found = faults(folder(tmp_path, config))
    for key in ("relative_attention", "position_biased_input", "pos_att_type", "norm_rel_ebd"):
        assert f"the config has no `{key}`; the spec deberta_v3 has" in found
