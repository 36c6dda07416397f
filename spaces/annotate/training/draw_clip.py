"""
Draws the clip of the training items: a ferry crosses a harbour in the evening and sounds its horn twice.

```
python draw_clip.py harbour.mp4
```
"""

import argparse
from fractions import Fraction

import av
import numpy as np


WIDTH, HEIGHT, FPS, SECONDS, RATE = 480, 270, 12, 6, 24_000
LETTERS = {
    "F": ("111", "100", "110", "100", "100"),
    "E": ("111", "100", "110", "100", "111"),
    "R": ("110", "101", "110", "101", "101"),
    "Y": ("101", "101", "010", "010", "010"),
}


def frame(time: float) -> np.ndarray:
    """Draws the picture at a time in seconds, as an array of shape `(HEIGHT, WIDTH, 3)`."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    sky = np.stack([60 + 150 * y / 170, 70 + 70 * y / 170, 120 + 10 * y / 170], -1)
    picture = np.where((y < 170)[..., None], sky, np.array([28, 58, 88.0]))
    sun = (x - 350) ** 2 + (y - 158) ** 2 < 26**2
    picture[sun & (y < 170)] = (255, 214, 140)
    hills = y > 150 + 14 * np.sin(x / 60) + 6 * np.sin(x / 21)
    picture[hills & (y < 170)] = (52, 60, 78)
    ripples = (y > 172) & (np.sin(x / 9 + 3 * time + y) * np.sin(y / 3) > 0.93)
    picture[ripples] = (80, 116, 150)
    left = -150 + (WIDTH + 120) * time / SECONDS
    bob = 2 * np.sin(2 * time)
    inner, height = x - left, y - bob
    hull = (height > 180) & (height < 212) & (inner > (height - 180) / 4) & (inner < 150 - (height - 180) / 2)
    picture[hull] = (236, 238, 240)
    picture[(height > 206) & (height < 212) & (inner > 10) & (inner < 136)] = (170, 52, 48)
    picture[(height > 154) & (height <= 180) & (inner > 42) & (inner < 122)] = (250, 250, 250)
    picture[(height > 134) & (height <= 154) & (inner > 76) & (inner < 90)] = (170, 52, 48)
    for window in range(5):
        picture[(height > 161) & (height < 171) & (abs(inner - 54 - 14 * window) < 4)] = (255, 214, 120)
    for place, letter in enumerate("FERRY"):
        for row, bits in enumerate(LETTERS[letter]):
            for column, bit in enumerate(bits):
                if bit == "1":
                    spot = (abs(inner - 51.5 - 14 * place - 3 * column) < 1.5) & (abs(height - 187 - 3 * row) < 1.5)
                    picture[spot] = (24, 44, 84)
    return picture.clip(0, 255).astype(np.uint8)


def sound() -> np.ndarray:
    """Makes the horn and the waves, samples of shape `(1, SECONDS * RATE)`."""
    time = np.arange(SECONDS * RATE) / RATE
    horn = sum(np.sin(2 * np.pi * tone * time) / rank for rank, tone in enumerate((146, 220, 292, 438), start=1))
    blasts = sum(np.clip(np.minimum(time - start, start + 0.9 - time) * 12, 0, 1) for start in (1.2, 2.6))
    noise = np.convolve(np.random.default_rng(0).normal(size=time.size), np.ones(60) / 60, "same")
    waves = noise * (0.25 + 0.2 * np.sin(2 * np.pi * time / 3))
    return (0.22 * horn * blasts + 0.2 * waves).astype(np.float32)[None]


def main(target: str) -> None:
    """Writes the clip."""
    with av.open(target, "w", options={"movflags": "faststart"}) as file:
        pictures = file.add_stream("libx264", rate=FPS, options={"crf": "27", "preset": "veryslow"})
        pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        voices = file.add_stream("aac", rate=RATE, layout="mono", bit_rate=48_000)
        for number in range(FPS * SECONDS):
            picture = av.VideoFrame.from_ndarray(frame(number / FPS), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            file.mux(pictures.encode(picture))
        samples = av.AudioFrame.from_ndarray(sound(), format="fltp", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = RATE, 0, Fraction(1, RATE)
        file.mux(voices.encode(samples))
        for stream in (pictures, voices):
            file.mux(stream.encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", help="the file to write")
    main(parser.parse_args().clip)
