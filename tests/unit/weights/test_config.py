"""Configs of the real libraries -> params of ours -> configs that the real libraries read as the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers as hf

from compiler.diagnostics.diagnostic import CompileError
from compiler.ir.parameters import ParameterTable
from compiler.weights.config import read_config, recognise
from compiler.weights.config_write import write_config
from compiler.weights.library import Library
from tests.unit.weights import tables

LIBRARY = Library.standard()


def folder(path: Path, config: dict[str, Any]) -> Path:
    (path / "config.json").write_text(json.dumps(config, indent=2))
    return path


def saved(path: Path, config: Any, architecture: str) -> Path:
    config.architectures = [architecture]
    config.save_pretrained(path)
    return path


def table(spec: str, values: dict[str, Any]) -> ParameterTable:
    return ParameterTable(spec, (), (), {}, values)


def faults(path: Path) -> str:
    with pytest.raises(CompileError) as caught:
        recognise(path, LIBRARY)
    return str(caught.value).replace(f"{path}/", "")


def test_gpt2(tmp_path: Path) -> None:
    config = hf.GPT2Config(vocab_size=11, n_positions=9, n_embd=6, n_layer=11, n_head=2)
    found = recognise(saved(tmp_path, config, "GPT2LMHeadModel"), LIBRARY)
    expected = dict(vocab=11, context=9, dim=6, depth=11, heads=2, hidden=24, act="gelu_tanh", eps=1e-5)
    assert (found.spec, found.map.name, found.set) == ("gpt2", "gpt2.hf", expected)
    written = write_config(found.map, table("gpt2", expected))
    again = hf.AutoConfig.from_pretrained(folder(tmp_path, written))
    assert (again.n_inner, again.activation_function, again.n_layer) == (24, "gelu_new", 11)
    assert recognise(tmp_path, LIBRARY).set == expected


def test_absent_keys_mean_what_the_library_assumes(tmp_path: Path) -> None:
    for spec, default in (("gpt2", hf.GPT2Config()), ("llama", hf.LlamaConfig()), ("bert", hf.BertConfig())):
        spelled = recognise(
            saved(
                tmp_path, default, {"gpt2": "GPT2Model", "llama": "LlamaForCausalLM"}.get(spec, "BertModel")
            )
        )
        bare = recognise(folder(tmp_path, {"model_type": spec}))
        assert bare.spec == spelled.spec == spec and bare.set == spelled.set
    clip = recognise(saved(tmp_path, hf.CLIPConfig(), "CLIPModel"))
    bare = recognise(folder(tmp_path, {"model_type": "clip", "architectures": ["CLIPModel"]}))
    assert bare.set == clip.set and len(bare.set) == 16


LLAMA = dict(
    vocab=13, dim=8, depth=11, heads=4, kv_heads=2, head_dim=6, hidden=10, act="silu", context=32, eps=1e-6,
    tied=True, base=7.0, bias=False, mlp_bias=False,
)  # fmt: skip
ROPE = {
    "use": "llama3_rope_table",
    "with": {"base": 7.0, "factor": 8.0, "low": 1.0, "high": 4.0, "original": 16},
}


def llama_config(**more: Any) -> Any:
    return hf.LlamaConfig(
        vocab_size=13, hidden_size=8, intermediate_size=10, num_hidden_layers=11, num_attention_heads=4,
        num_key_value_heads=2, head_dim=6, max_position_embeddings=32, tie_word_embeddings=True, **more,
    )  # fmt: skip


def test_llama_scaled_rotation_in_both_spellings(tmp_path: Path) -> None:
    scaling = {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    new = llama_config(rope_parameters={"rope_type": "llama3", "rope_theta": 7.0, **scaling})
    found = recognise(saved(tmp_path, new, "LlamaForCausalLM"), LIBRARY)
    assert found.set == LLAMA | {"rope": ROPE}
    old = json.loads((tmp_path / "config.json").read_text())
    del old["rope_parameters"]
    for name in ("type", "rope_type"):
        older = old | {"rope_theta": 7.0, "rope_scaling": {name: "llama3", **scaling}}
        assert recognise(folder(tmp_path, older), LIBRARY).set == LLAMA | {"rope": ROPE}
    written = write_config(found.map, table("llama", LLAMA | {"rope": ROPE}))
    again = hf.AutoConfig.from_pretrained(folder(tmp_path, written))
    assert again.rope_parameters == {"rope_type": "llama3", "rope_theta": 7.0, **scaling}
    assert again.head_dim == 6 and again.tie_word_embeddings is True
    assert recognise(tmp_path, LIBRARY).set == LLAMA | {"rope": ROPE}


def test_llama_plain_rotation(tmp_path: Path) -> None:
    config = llama_config(rope_parameters={"rope_type": "default", "rope_theta": 7.0})
    found = recognise(saved(tmp_path, config, "LlamaForCausalLM"), LIBRARY)
    assert found.set == LLAMA
    written = write_config(found.map, table("llama", LLAMA))
    assert hf.AutoConfig.from_pretrained(folder(tmp_path, written)).rope_parameters["rope_theta"] == 7.0
    old = json.loads((tmp_path / "config.json").read_text())
    del old["rope_parameters"]
    assert recognise(folder(tmp_path, old | {"rope_theta": 7.0, "rope_scaling": None}), LIBRARY).set == LLAMA


def test_bert_and_its_heads(tmp_path: Path) -> None:
    config = hf.BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=11, num_attention_heads=2)
    for architecture, name in (
        ("BertModel", "bert.hf"),
        ("BertForMaskedLM", "bert_mlm.hf"),
        ("AntiBERTy", "bert_mlm.antiberty"),
    ):
        found = recognise(saved(tmp_path, config, architecture), LIBRARY)
        assert found.map.name == name
        assert found.set["hidden"] == 3072 and found.set["eps"] == 1e-12 and found.set["types"] == 2
        written = write_config(found.map, table(found.spec, dict(found.set)))
        assert written["architectures"] == [architecture]
        assert hf.BertConfig.from_dict(written).to_dict() == config.to_dict() | {
            "architectures": [architecture]
        }


@pytest.mark.parametrize(("token", "eot"), [(2, None), (10, 10)])
def test_clip(tmp_path: Path, token: int, eot: int | None) -> None:
    text = dict(vocab_size=11, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, eos_token_id=token)
    vision = dict(hidden_size=6, num_hidden_layers=11, num_attention_heads=3, image_size=8, patch_size=4)
    config = hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=5)
    found = recognise(saved(tmp_path, config, "CLIPModel"), LIBRARY)
    assert found.spec == "clip_vitb32"
    assert found.set == dict(
        vocab=11, context=77, embed=5, image=8, patch=4, v_dim=6, v_depth=11, v_heads=3, v_hidden=3072,
        t_dim=8, t_depth=3, t_heads=2, t_hidden=2048, act="quick_gelu", eps=1e-5, eot=eot,
    )  # fmt: skip
    written = write_config(found.map, table("clip_vitb32", dict(found.set)))
    again = hf.AutoConfig.from_pretrained(folder(tmp_path, written))
    for part in ("text_config", "vision_config"):
        ignored = {"transformers_version", "architectures"}
        old, new = (getattr(c, part).to_dict() for c in (config, again))
        assert {k: v for k, v in new.items() if k not in ignored} == {
            k: v for k, v in old.items() if k not in ignored
        }


def test_gguf_fields() -> None:
    fields = {
        "general.architecture": "llama", "general.name": "x", "llama.block_count": 11,
        "llama.embedding_length": 8,
        "llama.context_length": 32, "llama.feed_forward_length": 10, "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2, "llama.attention.key_length": 6,
        "llama.attention.value_length": 6,
        "llama.attention.layer_norm_rms_epsilon": 1e-6, "llama.rope.freq_base": 7.0,
        "llama.rope.dimension_count": 6,
        "tokenizer.ggml.tokens": ["a"] * 13, "tensor:token_embd.weight": [13, 8],
        "tensor:blk.0.attn_q.weight": [24, 8],
    }  # fmt: skip
    gguf = LIBRARY.load("llama.gguf")
    known = {key: value for key, value in LLAMA.items() if key not in ("act", "bias", "mlp_bias")}
    assert read_config(gguf, fields, tables.LINE) == known
    assert read_config(gguf, fields | {"tensor:output.weight": [13, 8]}, tables.LINE) == known | {
        "tied": False
    }
    for wrong in (
        {"tensor:rope_freqs.weight": [3]},
        {"llama.rope.dimension_count": 4},
        {"llama.expert_count": 8},
    ):
        with pytest.raises(CompileError) as caught:
            read_config(gguf, fields | wrong, tables.LINE)
        assert f"`{next(iter(wrong))}` is" in str(caught.value) and len(caught.value.diagnostics) == 1
    with pytest.raises(CompileError, match=r"`tensor:token_embd.weight` is read, never written"):
        write_config(gguf, table("llama", LLAMA))


def test_values_that_the_spec_cannot_express(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": True,
        "hidden_act": "mish",
        "num_hidden_layerz": 3,
        "rope_scaling": {"rope_type": "yarn", "factor": 2.0},
    }
    text = faults(folder(tmp_path, config))
    for line in (
        "`hidden_act` is mish, which the spec llama cannot express\n  --> config.json:7:17",
        "error[config-value]: `rope_parameters.rope_type` is yarn, which the spec llama cannot express",
        "error[config-value]: `num_hidden_layerz` is 3: the map llama.hf does not know this key",
        "help: did you mean `num_hidden_layers`?",
        "note: the map knows `default`, `linear`, `llama3`",
    ):
        assert line in text, text
    assert text.endswith("3 errors")


def test_two_keys_for_one_param_must_agree(tmp_path: Path) -> None:
    config = hf.CLIPConfig(text_config={"layer_norm_eps": 1e-6}).to_dict() | {"architectures": ["CLIPModel"]}
    text = faults(folder(tmp_path, config))
    assert "the spec clip_vitb32 has one `eps`" in text and text.endswith("1 error")


def test_unknown_families_and_broken_files(tmp_path: Path) -> None:
    text = faults(folder(tmp_path, {"model_type": "bert", "architectures": ["BertForMultipleChoice"]}))
    assert "no weight map reads architectures BertForMultipleChoice" in text
    assert "maps read AntiBERTy, BertForMaskedLM, BertForPreTraining, BertForSequenceClassification" in text
    (tmp_path / "config.json").write_text('{"model_type": "bert", "model_type": "gpt2"}')
    assert "not JSON" in faults(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    assert "not a JSON object" in faults(tmp_path)
    (tmp_path / "config.json").unlink()
    assert "cannot read" in faults(tmp_path)


def test_tabs_escapes_and_long_keys_in_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{\n\t"model_type": "gpt2",\n\t"n_layer": 3, "_name_or_path": "a\\/b \\u00e9 \\n"\n}'
    )
    assert recognise(tmp_path, LIBRARY).set["depth"] == 3


def test_params_that_the_dialect_has_no_words_for() -> None:
    gpt2 = LIBRARY.load("gpt2.hf")
    with pytest.raises(CompileError) as caught:
        write_config(
            gpt2, table("gpt2", dict(vocab=1, context=1, dim=1, depth=1, heads=1, act="geglu", eps=1e-5))
        )
    text = str(caught.value)
    assert "`n_inner` needs the param `hidden`" in text
    assert "`act` is geglu, for which hf has no `activation_function`" in text
    with pytest.raises(CompileError, match=r"no `rope_parameters.rope_type` of hf stands for rope"):
        write_config(LIBRARY.load("llama.hf"), table("llama", LLAMA | {"rope": {"use": "yarn", "with": {}}}))


def test_a_nested_config_as_older_versions_wrote_it(tmp_path: Path) -> None:
    """Every nested part repeated all settings of text generation, whatever the model."""
    off = (
        "add_cross_attention",
        "do_sample",
        "early_stopping",
        "is_decoder",
        "tie_encoder_decoder",
        "torchscript",
    )
    unset = ("bad_words_ids", "cross_attention_hidden_size", "prefix", "torch_dtype")
    common: dict[str, Any] = dict.fromkeys(off, False) | dict.fromkeys(unset)
    common |= {"diversity_penalty": 0.0, "max_length": 20, "pruned_heads": {}, "tie_word_embeddings": True}
    text = common | {"model_type": "clip_text_model", "eos_token_id": 2, "dropout": 0.0}
    vision = common | {"model_type": "clip_vision_model", "num_channels": 3}
    config: dict[str, Any] = {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "text_config": text,
        "vision_config": vision,
    }
    config |= {"text_config_dict": None, "vision_config_dict": None, "logit_scale_init_value": 2.6592}
    assert recognise(folder(tmp_path, config), LIBRARY).set["eot"] is None
    text["is_decoder"] = True
    text["pruned_heads"] = {"0": [1]}
    found = faults(folder(tmp_path, config))
    assert "`text_config.is_decoder` is true" in found and "`text_config.pruned_heads` is" in found
    assert found.endswith("2 errors")
