"""transcribe: speech as text."""

from __future__ import annotations

import argparse

from compiler.cli.arguments import Verbs, add_verb
from runtime.cli.choice import add_choice, choice_of
from runtime.cli.model import add_model, in_batches, need_tokenizer, open_for, print_json

NEW_TOKENS = 224


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "transcribe", "write down what is said in WAV files")
    add_model(parser)
    parser.add_argument("sounds", metavar="WAV", nargs="+", help="files of speech")
    parser.add_argument("--language", metavar="CODE", help="en, hi, ... (default: the model guesses)")
    parser.add_argument("--english", action="store_true", help="write English, whatever is spoken")
    add_choice(parser, NEW_TOKENS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Transcribe and print, a line for each file."""
    opened = open_for("transcribe", options)
    from runtime.tasks.transcribe import transcribe

    need_tokenizer(opened)
    choice, results = choice_of(options), []
    for (sound,) in in_batches(options.sounds, 1, "transcribing"):
        found = transcribe(opened, sound, language=options.language, english=options.english, choice=choice)
        results.append({"sound": sound, **vars(found)})
        if not options.json:
            print(found.text, flush=True)
    if options.json:
        print_json(options, opened, results)
    return 0
