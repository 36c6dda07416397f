"""Clips that browsers can't play are found before anybody sits before them, and a command makes some that they can."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playable import find_faults, warning
from training import load_examples

from datasets_scripts.sources.urn_media import write_sound


# Name, codec of the pictures, codec of the sound, options, and what is told; nothing if every browser plays it.
KINDS = [
    ("h264.mp4", "libx264", "aac", {}, None),
    ("h264.mov", "libx264", "aac", {}, None),
    ("mp3.mp4", "libx264", "libmp3lame", {}, None),
    ("opus.mp4", "libx264", "libopus", {}, None),
    ("vp9.mp4", "libvpx-vp9", "aac", {}, None),
    ("vp9.webm", "libvpx-vp9", "libopus", {}, None),
    ("vp8.webm", "libvpx", "libopus", {}, None),
    ("av1.webm", "libsvtav1", "libopus", {}, None),
    ("sound.wav", None, "pcm_s16le", {}, None),
    ("sound.mkv.flac", None, "flac", {}, None),
    ("sound.mp3", None, "libmp3lame", {}, None),
    ("sound.ogg", None, "libopus", {}, None),
    ("sound.m4a", None, "aac", {"format": "mp4"}, None),
    ("hevc.mp4", "libx265", "aac", {}, "its picture is hevc in"),
    ("part2.mp4", "mpeg4", "aac", {}, "its picture is mpeg4 in"),
    ("prores.mov", "prores_ks", "aac", {"pix_fmt": "yuv422p10le"}, "its picture is prores in"),
    ("colours.mp4", "libx264", "aac", {"pix_fmt": "yuv444p"}, "h264 as yuv444p, not as yuv420p"),
    ("ac3.mp4", "libx264", "ac3", {}, "its sound is ac3 in"),
    ("alac.mov", "libx264", "alac", {}, "its sound is alac in"),
    ("old.avi", "mpeg4", "libmp3lame", {}, "is AVI"),
    ("h264.avi", "libx264", "libmp3lame", {}, "is AVI"),
    ("h264.mkv", "libx264", "aac", {}, "its picture is h264 in Matroska"),
    ("vp9.mkv", "libvpx-vp9", "libopus", {}, "does not end in .webm"),
    ("h264.ts", "libx264", "aac", {}, "is MPEG-TS"),
    ("mpeg1.mpg", "mpeg1video", "mp2", {"rate": 25}, "is MPEG-PS"),
    ("mjpeg.mov", "mjpeg", "aac", {"pix_fmt": "yuvj420p"}, "its picture is mjpeg in"),
    ("named.webm", "libx264", "aac", {"format": "mp4"}, "does not end in .mp4"),
    ("silent.mp4", "libx264", None, {}, "has no sound"),
    ("double.wav", None, "pcm_f64le", {}, "its sound is pcm_f64le in"),
    ("sound.aiff", None, "pcm_s16be", {}, "is Audio IFF"),
]
TRIED = """([address, kind]) => new Promise((tell) => {
  const clip = document.createElement(kind);
  clip.preload = "auto";
  clip.onerror = () => tell(false);
  clip.onloadeddata = () => tell((kind === "audio" || clip.videoWidth > 0) && clip.webkitAudioDecodedByteCount > 0);
  clip.src = address;
})"""


def modality_of(name: str) -> str:
    """Sounds are judged as sounds, the others with theirs."""
    return "audio" if Path(name).suffix in (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".aiff") else "audiovisual"


@pytest.fixture(scope="module")
def clips(tmp_path_factory, write_clip) -> dict[str, Path]:
    """One of each kind."""
    folder = tmp_path_factory.mktemp("kinds")
    return {name: write_clip(folder / name, picture, sound, **options) for name, picture, sound, options, _ in KINDS}


@pytest.mark.parametrize(("name", "told"), [(name, told) for name, *_, told in KINDS])
def test_what_no_browser_plays_is_told(clips, name, told):
    """Container, codecs, format of the pictures, and a name that says something else: each is named."""
    faults = find_faults([(str(clips[name]), modality_of(name))])
    assert told in faults[str(clips[name])].text if told else not faults


def test_chromium_plays_what_has_no_fault(clips, browser):
    """Whatever a real browser does not show and sound has been found; whatever has no fault it does play."""
    page = browser.new_page()
    page.goto(next(iter(clips.values())).parent.as_uri())
    faults = find_faults([(str(path), modality_of(name)) for name, path in clips.items()])
    played = {
        name: page.evaluate(TRIED, [path.as_uri(), "audio" if modality_of(name) == "audio" else "video"])
        for name, path in clips.items()
    }
    page.close()
    assert not [name for name, path in clips.items() if not played[name] and str(path) not in faults]
    assert {name for name in played if not played[name]} >= {"hevc.mp4", "ac3.mp4", "old.avi", "silent.mp4"}


def test_what_is_not_needed_is_not_asked_for(clips):
    """A video that is judged without its sound may have any or none, and so a recording with any pictures."""
    paths = {name: str(clips[name]) for name in ("silent.mp4", "ac3.mp4", "hevc.mp4")}
    assert not find_faults([(paths["silent.mp4"], "video"), (paths["ac3.mp4"], "video"), (paths["hevc.mp4"], "audio")])
    assert not find_faults([(one.premise, one.modality) for one in load_examples() if one.modality != "text"])


def test_damaged_clips_are_to_be_fetched_anew(clips, tmp_path):
    """What is gone, empty, no clip, or cut off is named, and no command is given that could not mend it."""
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no clip")
    whole = clips["vp9.webm"].read_bytes()
    (tmp_path / "cut.webm").write_bytes(whole[: len(whole) // 4])
    names = ("empty.mp4", "text.mp4", "cut.webm", "gone.mp4")
    faults = find_faults([(str(tmp_path / name), "audiovisual") for name in names])
    told = warning(faults)
    assert len(faults) == 4 and all(f"  {name}: " in told for name in names)
    assert "cut off: it declares 2.0 s" in told and "fetched anew" in told and "ffmpeg" not in told


def test_pictures_that_no_browser_shows(tmp_path):
    """What is damaged, gone or of another format is named; what browsers know has no fault."""
    image = Image.effect_noise((80, 60), 50)
    good, bad = ["a.png", "a.jpg", "a.gif", "a.webp"], ["cut.png", "a.tiff", "gone.png"]
    for name in (*good, "a.tiff"):
        image.save(tmp_path / name)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:1000])
    faults = find_faults([(str(tmp_path / name), "image") for name in (*good, *bad)])
    assert {Path(path).name for path in faults} == {*bad}
    assert "gone.png: can't be read as a picture: it is gone" in warning(faults) and "ffmpeg" not in warning(faults)


def test_nothing_wrong_is_nothing_told(clips, tmp_path):
    """No fault, no warning, also of a file whose end can't be jumped to."""
    write_sound(tmp_path / "beeps.flac", ["high", "low"] * 5, np.random.default_rng(0))
    assert not find_faults([(str(tmp_path / "beeps.flac"), "audio")])
    assert warning(find_faults([(str(clips["h264.mp4"]), "audiovisual")])) == ""


@pytest.mark.processes
@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg on this machine")
def test_the_command_makes_clips_that_play(clips, tmp_path):
    """Run as it is printed, it makes an MP4 of each clip under its name, of odd sizes and letters too; all play."""
    names = {"hevc.mp4": "it's $HOME.mp4", "ac3.mp4": "ac3.mp4", "old.avi": "-old.avi", "sound.aiff": "tone.mkv.aiff"}
    for name, other in names.items():
        shutil.copy(clips[name], tmp_path / other)
    asked = [(str(tmp_path / other), modality_of(name)) for name, other in names.items()]
    command = warning(find_faults(asked)).splitlines()[-1]
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True, capture_output=True)
    made = {path.name: str(path) for path in (tmp_path / "playable").iterdir()}
    assert made.keys() == {"it's $HOME.mp4", "ac3.mp4", "-old.mp4", "tone.mp4"}
    sounds = {"tone.mp4"}
    assert not find_faults([(path, "audio" if name in sounds else "audiovisual") for name, path in made.items()])


def test_names_that_differ_by_their_endings_stay_two(clips, tmp_path):
    """Neither clip takes the other's place in the folder that the command writes."""
    for name in ("one.avi", "one.ts"):
        shutil.copy(clips["old.avi"], tmp_path / name)
    command = warning(find_faults([(str(path), "audiovisual") for path in tmp_path.iterdir()])).splitlines()[-1]
    assert '"playable/$name.mp4"' in command
