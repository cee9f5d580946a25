"""Texts that tokenizers tend to differ on."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[3]

#: Scripts, signs, digits, white space, controls, special tokens, and every letter of the first planes.
TEXTS: Final = (
    "Hello, I'm a language model; you'll see that it isn't THAT'S all.",
    " leading,  two   three\ttab\n\nline  \r\n trailing  ",
    "0 1 12 123 1234 3.14159 1,000,000 2024-11-24  7\t8\n9 a1b2 x٣४౫² ½ Ⅷ",
    "naïve café Ångström straße İstanbul ﬁ ŉ e\u0301 \u1e9b\u0323",
    "नमस्ते दुनिया, यह एक परीक्षण है। తెలుగు భాష చాలా అందమైనది. ক্ষত্রিয়",
    "你好，世界。こんにちは世界 안녕하세요 สวัสดีชาวโลก",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇮🇳 👍🏽 ☃️ 🤷🏻‍♀️",
    "العربية שלום \u200f\u200e\u202eabc\u202c",
    "def f(x):\n    return {x: [1, 2], **y}  # <|im_start|>system<|im_end|> <|endoftext|>",
    "\u0000\u0001\u007f\u0085\u00a0\u00ad\u2003\u2028\u3000\ufeff\ufffd",
    "".join(chr(c) for c in range(1, 0x3100) if unicodedata.category(chr(c)) != "Cs"),
    " ".join(chr(c) for c in range(0x1F300, 0x1FAFF)),
    (_ROOT / "README.md").read_text(encoding="utf-8"),
    (_ROOT / "runtime" / "text" / "files.py").read_text(encoding="utf-8"),
)
