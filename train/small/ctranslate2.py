"""Reads the encoder of a Whisper out of a file of CTranslate2, into the layout that transformers has."""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel


# The formats of numbers, by their code in the file.
DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
SPECIFICATION = "WhisperSpec"
HEAD_SIZE = 64

# Places of weights in the file and in transformers: of the encoder, and of each of its layers.
ENCODER = {
    "conv1/weight": "conv1.weight",
    "conv1/bias": "conv1.bias",
    "conv2/weight": "conv2.weight",
    "conv2/bias": "conv2.bias",
    "position_encodings/encodings": "embed_positions.weight",
    "layer_norm/gamma": "layer_norm.weight",
    "layer_norm/beta": "layer_norm.bias",
}
LAYER = {
    "self_attention/linear_1/weight": "self_attn.out_proj.weight",
    "self_attention/linear_1/bias": "self_attn.out_proj.bias",
    "self_attention/layer_norm/gamma": "self_attn_layer_norm.weight",
    "self_attention/layer_norm/beta": "self_attn_layer_norm.bias",
    "ffn/linear_0/weight": "fc1.weight",
    "ffn/linear_0/bias": "fc1.bias",
    "ffn/linear_1/weight": "fc2.weight",
    "ffn/linear_1/bias": "fc2.bias",
    "ffn/layer_norm/gamma": "final_layer_norm.weight",
    "ffn/layer_norm/beta": "final_layer_norm.bias",
}
# Queries, keys and values are one matrix in the file.
JOINED = "self_attention/linear_0"


def whisper_encoder(file: Path, out: Path) -> None:
    """Writes the encoder of a `model.bin` as a folder `out` that `WhisperModel` loads.

    The decoder is as small as it can be, and random. A `ValueError` says that the file is none of a Whisper.
    """
    weights = read_variables(file)
    width, bands, _ = weights["encoder/conv1/weight"].shape
    layers = sum(name.endswith(f"{JOINED}/weight") and name.startswith("encoder/layer_") for name in weights)
    heads = width // HEAD_SIZE
    config = WhisperConfig(
        num_mel_bins=bands,
        d_model=width,
        encoder_layers=layers,
        encoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_layers=1,
        decoder_attention_heads=heads,
        decoder_ffn_dim=1,
        max_target_positions=1,
        vocab_size=1,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0),
    )
    state = {new: weights[f"encoder/{old}"] for old, new in ENCODER.items()}
    for index in range(layers):
        layer = f"encoder/layer_{index}/"
        state |= {f"layers.{index}.{new}": weights[layer + old] for old, new in LAYER.items()}
        for part in ("weight", "bias"):
            thirds = np.split(weights[f"{layer}{JOINED}/{part}"], 3)
            state |= {
                f"layers.{index}.self_attn.{letter}_proj.{part}": third
                for letter, third in zip("qkv", thirds, strict=True)
            }
        # Whisper's keys have no bias; the file has one of zeros.
        if state.pop(f"layers.{index}.self_attn.k_proj.bias").any():
            raise ValueError(f"'{file}' has a bias on keys, as no Whisper has.")
    model = WhisperModel(config)
    model.encoder.load_state_dict({name: torch.from_numpy(array.astype(np.float32)) for name, array in state.items()})
    model.save_pretrained(out)
    WhisperFeatureExtractor(feature_size=bands).save_pretrained(out)


def read_variables(file: Path) -> dict[str, np.ndarray]:
    """Reads the weights of a `model.bin` by their names.

    The layout is that of CTranslate2's `Model::load`, in little-endian numbers: version, specification, revision, then
    for each variable its name, shape, format and bytes. A `ValueError` says that the file is cut off, or of another
    kind of model.
    """
    with file.open("rb") as source:
        try:
            _, specification, _ = _number(source, "I"), _text(source), _number(source, "I")
            if specification != SPECIFICATION:
                raise ValueError(f"'{file}' holds a {specification[:40]!r}, not a {SPECIFICATION}.")
            variables = {}
            for _ in range(_number(source, "I")):
                name = _text(source)
                shape = [_number(source, "I") for _ in range(_number(source, "B"))]
                dtype = np.dtype(DTYPES[_number(source, "B")])
                variables[name] = np.frombuffer(_exactly(source, _number(source, "I")), dtype).reshape(shape)
        except (EOFError, KeyError, UnicodeDecodeError) as error:
            raise ValueError(f"'{file}' is no whole model of CTranslate2: {error!r}") from error
    return variables


def _exactly(source: BinaryIO, size: int) -> bytes:
    """Reads so many bytes, or raises an `EOFError`."""
    content = source.read(size)
    if len(content) < size:
        raise EOFError(f"{size - len(content)} bytes are missing at the end")
    return content


def _number(source: BinaryIO, code: str) -> int:
    return struct.unpack(f"<{code}", _exactly(source, struct.calcsize(code)))[0]


def _text(source: BinaryIO) -> str:
    return _exactly(source, _number(source, "H")).rstrip(b"\0").decode()
