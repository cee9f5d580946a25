"""Writes the checkpoint folder of transformers for a Whisper model that was converted to CTranslate2.

    python examples/ct2_whisper_to_hf.py FOLDER OUT

FOLDER holds model.bin, config.json and tokenizer.json; OUT is made. Only numpy and safetensors are needed.
CTranslate2 joins queries, keys and values in one matrix, and gives keys a bias of zeros, which transformers
leaves out.
"""

from __future__ import annotations

import json
import shutil
import struct
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Arrays = dict[str, NDArray[Any]]

DTYPES: Final = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
#: Scalars of the file that say how the layers compute, at the only values that Whisper has.
SETTINGS: Final = {
    "decoder/activation": 3,  # the exact GELU
    "decoder/alibi": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
#: Which heads follow the speech in time, for word time stamps alone.
ALIGNMENT: Final = {"decoder/alignment_heads", "decoder/alignment_layer"}
#: The vocabulary of a model of several languages has one token more than that of English.
SEVERAL_LANGUAGES: Final = 51865


class Reader:
    """The little-endian header of model.bin: names, shapes and dtypes, each before its data."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, code: str) -> int:
        """One whole number; `code` is its width in the notation of struct."""
        (value,) = struct.unpack_from("<" + code, self._data, self._at)
        self._at += struct.calcsize("<" + code)
        return int(value)

    def text(self) -> str:
        """Its length, and that many bytes, of which the last is zero."""
        length = self.number("H")
        self._at += length
        return self._data[self._at - length : self._at - 1].decode()

    def array(self) -> NDArray[Any]:
        """Rank, shape, dtype and size, then the numbers."""
        shape = [self.number("I") for _ in range(self.number("B"))]
        dtype = np.dtype(DTYPES[self.number("B")])
        size = self.number("I")
        self._at += size
        return np.frombuffer(self._data[self._at - size : self._at], dtype).reshape(shape)


def read(path: Path) -> Arrays:
    """Every variable of a model.bin."""
    reader = Reader(path.read_bytes())
    version, spec, _ = reader.number("I"), reader.text(), reader.number("I")
    if version != 6 or spec != "WhisperSpec":
        raise SystemExit(f"{path} is {spec} in version {version} of the format, not WhisperSpec in version 6")
    return {reader.text(): reader.array() for _ in range(reader.number("I"))}


def renamed(variables: Arrays, layers: dict[str, int]) -> Arrays:
    """The tensors under the names of transformers; what is taken leaves `variables`."""
    take = variables.pop
    out: Arrays = {"model.decoder.embed_tokens.weight": take("decoder/embeddings/weight")}
    for i in (1, 2):
        for p in ("weight", "bias"):
            out[f"model.encoder.conv{i}.{p}"] = take(f"encoder/conv{i}/{p}")
    for tower, depth in layers.items():
        out[f"model.{tower}.embed_positions.weight"] = take(f"{tower}/position_encodings/encodings")
        out |= norm(variables, f"{tower}/layer_norm", f"model.{tower}.layer_norm")
        for i in range(depth):
            out |= layer(variables, f"{tower}/layer_{i}", f"model.{tower}.layers.{i}", tower == "decoder")
    return out


def layer(variables: Arrays, source: str, target: str, crossed: bool) -> Arrays:
    """One layer; a decoder's is `crossed`: it attends to the encoder too, queries in their own matrix."""
    out = attention(variables, f"{source}/self_attention", f"{target}.self_attn", [3])
    out |= norm(variables, f"{source}/self_attention/layer_norm", f"{target}.self_attn_layer_norm")
    if crossed:
        out |= attention(variables, f"{source}/attention", f"{target}.encoder_attn", [1, 2])
        out |= norm(variables, f"{source}/attention/layer_norm", f"{target}.encoder_attn_layer_norm")
    out |= norm(variables, f"{source}/ffn/layer_norm", f"{target}.final_layer_norm")
    for i in (0, 1):
        for p in ("weight", "bias"):
            out[f"{target}.fc{i + 1}.{p}"] = variables.pop(f"{source}/ffn/linear_{i}/{p}")
    return out


def attention(variables: Arrays, source: str, target: str, joined: list[int]) -> Arrays:
    """Queries, keys, values and output; `joined` says how many each matrix before the output's holds."""
    out: Arrays = {}
    for p in ("weight", "bias"):
        parts: list[NDArray[Any]] = []
        for i, count in enumerate([*joined, 1]):
            parts += np.split(variables.pop(f"{source}/linear_{i}/{p}"), count)
        for name, part in zip(("q_proj", "k_proj", "v_proj", "out_proj"), parts, strict=True):
            out[f"{target}.{name}.{p}"] = np.ascontiguousarray(part)
    if out.pop(f"{target}.k_proj.bias").any():
        raise SystemExit(f"the keys of {source} have a bias, which Whisper has no place for")
    return out


def norm(variables: Arrays, source: str, target: str) -> Arrays:
    """A layer norm."""
    names = {"gamma": "weight", "beta": "bias"}
    return {f"{target}.{theirs}": variables.pop(f"{source}/{ours}") for ours, theirs in names.items()}


def config(
    tensors: Arrays, heads: dict[str, int], layers: dict[str, int], tokens: dict[str, int]
) -> dict[str, Any]:
    """config.json, every size read off a tensor."""
    vocab, width = tensors["model.decoder.embed_tokens.weight"].shape
    hidden = {tower: len(tensors[f"model.{tower}.layers.0.fc1.bias"]) for tower in layers}
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "dtype": str(tensors["model.decoder.embed_tokens.weight"].dtype),
        "is_encoder_decoder": True,
        "vocab_size": vocab,
        "d_model": width,
        "num_mel_bins": tensors["model.encoder.conv1.weight"].shape[1],
        "max_source_positions": len(tensors["model.encoder.embed_positions.weight"]),
        "max_target_positions": len(tensors["model.decoder.embed_positions.weight"]),
        **{f"{tower}_layers": depth for tower, depth in layers.items()},
        **{f"{tower}_attention_heads": count for tower, count in heads.items()},
        **{f"{tower}_ffn_dim": size for tower, size in hidden.items()},
        "activation_function": "gelu",
        "scale_embedding": False,
        "decoder_start_token_id": tokens["<|startoftranscript|>"],
        "bos_token_id": tokens["<|endoftext|>"],
        "eos_token_id": tokens["<|endoftext|>"],
        "pad_token_id": tokens["<|endoftext|>"],
    }


def generation_config(folder: Path, tensors: Arrays, tokens: dict[str, int]) -> dict[str, Any]:
    """generation_config.json: what is never written, and how languages and tasks are named."""
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = {
        "decoder_start_token_id": tokens["<|startoftranscript|>"],
        "bos_token_id": tokens["<|endoftext|>"],
        "eos_token_id": tokens["<|endoftext|>"],
        "pad_token_id": tokens["<|endoftext|>"],
        "no_timestamps_token_id": tokens["<|notimestamps|>"],
        "suppress_tokens": said["suppress_ids"],
        "begin_suppress_tokens": said["suppress_ids_begin"],
        "is_multilingual": len(tensors["model.decoder.embed_tokens.weight"]) >= SEVERAL_LANGUAGES,
    }
    if found["is_multilingual"]:
        names = {id: name for name, id in tokens.items()}
        found["lang_to_id"] = {names[id]: id for id in said["lang_ids"]}
        found["task_to_id"] = {task: tokens[f"<|{task}|>"] for task in ("transcribe", "translate")}
    return found


def convert(folder: Path, out: Path) -> None:
    """The whole conversion. Everything in the file is used, checked, or known to be beside the point."""
    variables = read(folder / "model.bin")
    for name, value in SETTINGS.items():
        if variables.pop(name) != value:
            raise SystemExit(f"`{name}` is not {value}, as it is in every Whisper model")
    heads = {tower: int(variables.pop(f"{tower}/num_heads")) for tower in ("encoder", "decoder")}
    last = "/ffn/layer_norm/gamma"  # stands in a layer once
    layers = {
        tower: sum(name.startswith(f"{tower}/") and name.endswith(last) for name in variables)
        for tower in heads
    }
    tensors = renamed(variables, layers)
    if left := variables.keys() - ALIGNMENT:
        raise SystemExit(f"the file also holds {', '.join(sorted(left))}")
    special = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    tokens = {token["content"]: token["id"] for token in special}
    out.mkdir(parents=True)
    text = json.dumps(config(tensors, heads, layers, tokens), indent=2)
    (out / "config.json").write_text(text + "\n", encoding="utf-8")
    text = json.dumps(generation_config(folder, tensors, tokens), indent=2)
    (out / "generation_config.json").write_text(text + "\n", encoding="utf-8")
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    shutil.copy(folder / "tokenizer.json", out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
