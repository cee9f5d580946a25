"""A fresh clone of this working tree, with the environment of the tests as the one that `./run` made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def files() -> list[str]:
    """What a commit of the working tree would hold."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def clone(folder: Path) -> dict[str, str]:
    """Copy the tree into a folder; the environment variables with which its commands use the copy."""
    for name in files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    venv = folder / ".venv"
    venv.mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != "requirements":
            (venv / part.name).symlink_to(part)
    wanted = "".join(
        (ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "constraints.txt")
    )
    (venv / "requirements").write_text(f"{folder}\n{wanted}", encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k not in ("VENV", "BLOCKWRIGHT_PATH")}
    return {**environment, "PYTHONPATH": str(folder)}
