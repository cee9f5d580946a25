"""load_tokenizer: the tokens of a model, from the files beside its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing
from torch import nn

from compiler.backend.build import program_of
from compiler.diagnostics.diagnostic import CompileError, fail
from compiler.passes.io_keys import ROLES
from compiler.pipeline import compile as compile_spec
from compiler.source.text import display_name
from compiler.weights.config_source import GGUF
from runtime.files import companion
from runtime.origin import origin_of
from runtime.text.chat import TEMPLATE, find_template
from runtime.text.declared import Declared, declared
from runtime.text.files import damaged, from_json, from_merges, from_packed_merges, from_words, read_json
from runtime.text.gguf import from_gguf
from runtime.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers

#: What may stand beside a model's weights, the most complete first; a folder may hold one of the patterns.
NAMES: Final = ("tokenizer.json", "vocab.json", "vocab.txt")
PATTERNS: Final = ("*.txt.gz", f"*{GGUF}", "*.model", "*.spm")
_HELP: Final = "pass the path of the file, or of the folder that holds it"

Beside = Callable[[str], Path | None]


def load_tokenizer(source: str | Path | nn.Module, path: str | Path | None = None) -> Tokenizer:
    """The tokenizer of a model.

    source: a loaded module, a spec's name or path, or a checkpoint folder or file; its spec says what
    the files leave open (`io: tokenizer:`).
    path: the folder or file that holds the tokens, where they are not beside the weights: tokenizer.json,
    vocab.json with merges.txt, vocab.txt, a gz of merges, or a GGUF file.
    Raises CompileError for what is missing or damaged.
    """
    program = program_of(source) if isinstance(source, nn.Module) else compile_spec(source)
    said = declared(program)
    file, beside = _files(source, path)
    if file.suffix == GGUF:
        return from_gguf(file, said)
    config = _settings(beside("tokenizer_config.json"))
    written = {**_settings(beside("special_tokens_map.json")), **config}
    special = {**said.special, **_special(written)}
    backend = _backend(file, beside, replace(said, special=special))
    if file.suffix != ".json" or _is_vocabulary(file):
        _add(backend, file, config, _settings(beside("added_tokens.json")))
        _mark(backend, special, written)
        _frame(backend, said, file)
    return Tokenizer(backend, special, said.length, find_template(beside(TEMPLATE), config))


def _files(source: str | Path | nn.Module, path: str | Path | None) -> tuple[Path, Beside]:
    """The file that holds the tokens, and how to find one that stands beside it."""
    if path is None and not isinstance(source, nn.Module) and Path(source).suffix == GGUF:
        path = source
    origin = Path(path) if path is not None else origin_of(source)
    if isinstance(origin, Path):
        file = _of_folder(origin) if origin.is_dir() else origin
        if not file.is_file():
            raise fail("not-found", f"there is no file or folder `{display_name(file)}`", None)
        return file, lambda name: found if (found := file.with_name(name)).is_file() else None
    found = companion(source, *NAMES)
    if found is None:
        what = (
            f"{origin} has none of {', '.join(NAMES)}" if origin is not None else "this model has no folder"
        )
        raise fail("not-found", f"{what} to take tokens from", None, help=_HELP)
    return found, lambda name: companion(source, name)


def _of_folder(folder: Path) -> Path:
    """The file of a folder that holds the tokens."""
    for name in (*NAMES, *PATTERNS):
        found = sorted(folder.glob(name))
        if len(found) > 1:
            names = ", ".join(f.name for f in found)
            raise fail("ambiguous-name", f"`{display_name(folder)}` holds {names}", None, help="name one")
        if found:
            return found[0]
    message = f"`{display_name(folder)}` holds no tokens: none of {', '.join((*NAMES, *PATTERNS))}"
    raise fail("not-found", message, None, help=_HELP)


def _backend(file: Path, beside: Beside, said: Declared) -> tokenizers.Tokenizer:
    """The library's tokenizer that a file describes, by its name."""
    if file.suffix == ".gz":
        return from_packed_merges(file, said)
    if _is_vocabulary(file):
        merges = beside(file.name.replace("vocab.json", "merges.txt"))
        if merges is None:
            raise damaged(file, "a vocabulary of pairs, without the merges.txt that goes with it")
        return from_merges(file, merges, said)
    if file.suffix == ".json":
        return from_json(file)
    if file.name.endswith("vocab.txt"):
        return from_words(file, said)
    if file.suffix in (".model", ".spm"):
        raise _sentencepiece(file)
    known = ", ".join((*NAMES, *PATTERNS))
    raise damaged(file, f"what it is shows in its name, and no tokens are called so; known are {known}")


def _is_vocabulary(file: Path) -> bool:
    """Whether a JSON file holds tokens and ids alone, its merges in another."""
    return file.name.endswith("vocab.json")


def _sentencepiece(file: Path) -> CompileError:
    return fail(
        "unreadable",
        f"{display_name(file)}: SentencePiece models are not read",
        None,
        help='write tokenizer.json beside it, once: `python -c "from transformers import AutoTokenizer as A; '
        f"A.from_pretrained('{display_name(file.parent)}').save_pretrained('{display_name(file.parent)}')\"`",
    )


def _settings(file: Path | None) -> dict[str, Any]:
    """The JSON object of a file; empty where there is no file."""
    return read_json(file) if file is not None else {}


def _special(written: Mapping[str, Any]) -> dict[str, str]:
    """The roles that the two settings files give to tokens: a text, or a text with how it is matched."""
    found = {role: written.get(f"{role}_token") for role in ROLES}
    texts = {role: token["content"] if isinstance(token, dict) else token for role, token in found.items()}
    return {role: text for role, text in texts.items() if isinstance(text, str)}


def _add(
    backend: tokenizers.Tokenizer, file: Path, config: Mapping[str, Any], extra: Mapping[str, Any]
) -> None:
    """Tokens behind the vocabulary, which have the ids that the settings say.

    config: tokenizer_config.json, with `added_tokens_decoder`; extra: added_tokens.json, texts and their ids.
    """
    found = {text: (id, {"content": text}) for text, id in extra.items()}
    for id, said in (config.get("added_tokens_decoder") or {}).items():
        found[said["content"]] = (int(id), said)
    for text, (id, said) in sorted(found.items(), key=lambda item: item[1][0]):
        (backend.add_special_tokens if said.get("special") else backend.add_tokens)([_token(text, said)])
        if backend.token_to_id(text) != id:
            message = f"`{text}` has the id {id} in its settings and {backend.token_to_id(text)} here"
            raise damaged(file, message)


def _mark(backend: tokenizers.Tokenizer, special: Mapping[str, str], written: Mapping[str, Any]) -> None:
    """Special tokens are found in a text before it is split."""
    for role, text in special.items():
        if backend.token_to_id(text) is not None:
            backend.add_special_tokens([_token(text, written.get(f"{role}_token"))])


def _token(text: str, said: object) -> AddedToken:
    """A token with the spaces around it that belong to it; settings may give its text alone."""
    flags = said if isinstance(said, dict) else {}
    sides = {side: flags.get(side) is True for side in ("lstrip", "rstrip", "single_word")}
    return AddedToken(text, normalized=flags.get("normalized") is True, **sides)


def _frame(backend: tokenizers.Tokenizer, said: Declared, file: Path) -> None:
    """The tokens around a text, as the spec declares them."""
    names = {part.partition(":")[0] for part in f"{said.single} {said.pair}".split() if part[0] != "$"}
    ids = {name: backend.token_to_id(name) for name in sorted(names)}
    for name, id in ids.items():
        if id is None:
            raise damaged(file, f"the vocabulary lacks `{name}`, which frames every text of this model")
    try:
        frame = TemplateProcessing(single=said.single, pair=said.pair, special_tokens=list(ids.items()))
    except ValueError as error:
        message = f"`io.tokenizer` frames texts as {said.single!r} and {said.pair!r}: {error}"
        raise fail("bad-value", message, None, help='a frame is such as "[CLS] $A [SEP]"') from None
    backend.post_processor = frame
