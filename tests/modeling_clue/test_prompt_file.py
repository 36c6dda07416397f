"""The file that says how a checkpoint was asked: what it means, and what it may not say."""

import pytest
import yaml

from modeling_clue.prompt_file import read_prompt_file


def entry(**fields) -> dict:
    """What a modality says, all of it right but for `fields`; `None` takes a field away."""
    whole = {"system": "Judge.", "user": "{hypothesis}?", "first": "hypothesis", **fields}
    return {name: value for name, value in whole.items() if value is not None}


def read(tmp_path, content):
    """`content` after a way through a file."""
    path = tmp_path / "prompts.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return read_prompt_file(path)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "{hypothesis}?{premise}"),
        ({"first": "premise"}, "{premise}{hypothesis}?"),
        ({"user": "{hypothesis} of {premise}?", "first": None}, "{hypothesis} of {premise}?"),
        ({"user": "{premise}: {hypothesis}?", "first": "premise"}, "{premise}: {hypothesis}?"),
        ({"user": '{"claim": {hypothesis}}'}, '{"claim": {hypothesis}}{premise}'),
    ],
)
def test_where_the_premise_stands(tmp_path, fields, expected):
    """In its place if it has one, else where `first` puts it; and the rest of the row is Qwen2.5-Omni's."""
    prompt = read(tmp_path, {"audio": entry(**fields)}).prompt
    assert prompt == {
        "audio": {
            "premise": f"<|im_start|>system\nJudge.<|im_end|>\n<|im_start|>user\n{expected}",
            "hypothesis": "<|im_end|>\n<|im_start|>assistant\n",
        }
    }


def test_media_settings_of_all_modalities(tmp_path):
    """They are put together; the same one twice may not differ."""
    content = {"video": entry(media={"fps": 0.5}), "audiovisual": entry(media={"fps": 0.5, "max_frames": 8})}
    assert read(tmp_path, content).media == {"fps": 0.5, "max_frames": 8}
    content["audiovisual"]["media"]["fps"] = 1.0
    with pytest.raises(ValueError, match="audiovisual: media setting `fps` is 1.0, but 0.5"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not YAML"),
        ("", "needs one or more of the keys text, audio"),
        ("- text", "needs one or more of the keys"),
        ({"speech": entry()}, "got .'speech'."),
        ({"audio": "Judge."}, "audio: needs the keys system and user"),
        ({"audio": entry(frist="premise")}, "audio: needs the keys .*frist"),
        ({"audio": entry(system=None)}, "audio: `system` must be a text, got None"),
        ({"audio": entry(user=3)}, "audio: `user` must be a text, got 3"),
        ({"audio": entry(user="How likely?")}, "audio: `user` needs one {hypothesis}"),
        ({"audio": entry(user="{hypothesis} {hypothesis}")}, "audio: `user` needs one {hypothesis}"),
        ({"audio": entry(user="{premise} {hypothesis} {premise}")}, "one {premise} at most"),
        ({"audio": entry(first="media")}, "`first` must be hypothesis or premise, got 'media'"),
        ({"audio": entry(first=None)}, "no place for the {premise}.*`first`"),
        ({"audio": entry(user="{premise}: {hypothesis}")}, "`first` is hypothesis, but .*{premise} comes first"),
        ({"text": entry()}, "text: `user` needs a place for the {premise}"),
        ({"audio": entry(media=3)}, "audio: `media` must be settings by name, got 3"),
        ("audio: !!python/object/apply:os.system [echo]", "is not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    """Every mistake is an error that says where it is."""
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


PYTHON = '''
import os
SHARED = "You judge "
NLI_SYSTEM_PROMPT: str = """
You judge videos, {as} they are.
""".strip()
NLI_PROMPT = ("Claim: {text}\\n"
              "Answer as {{x}}.")
NLI_SYSTEM_PROMPT_AUDIO = SHARED + "sounds."
NLI_PROMPT_AUDIO = "Heard? {text}"
NLI_SYSTEM_PROMPT_TEXT = ""
NLI_PROMPT_TEXT = "{claim} / {sentence}"
os.abort()
'''


def read_python(tmp_path, text):
    """`text` after a way through a Python file."""
    (tmp_path / "run_eval.py").write_text(text)
    return read_prompt_file(tmp_path / "run_eval.py")


def test_constants_of_a_python_file(tmp_path):
    """They say what YAML of the same words says; of the file nothing else is read, and nothing executed."""
    seen = {"system": "You judge videos, {as} they are.", "user": "Claim: {hypothesis}\nAnswer as {x}."}
    content = {
        "text": {"system": "", "user": "{hypothesis} / {premise}"},
        "audio": entry(system="You judge sounds.", user="Heard? {hypothesis}"),
        "video": entry(**seen),
        "audiovisual": entry(**seen),
    }
    assert read_python(tmp_path, PYTHON) == read(tmp_path, content)
    only = read_python(
        tmp_path, 'NLI_SYSTEM_PROMPT_AUDIO, NLI_PROMPT_AUDIO = 1, 2\nNLI_SYSTEM_PROMPT = "a"\nNLI_PROMPT = "{text}"'
    )
    assert list(only.prompt) == ["video", "audiovisual"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('SHARED + "sounds."', "os.environ['HOME']", "NLI_SYSTEM_PROMPT_AUDIO: line 9 is computed"),
        ('SHARED + "sounds."', "NLI_SYSTEM_PROMPT_AUDIO", "NLI_SYSTEM_PROMPT_AUDIO: line 9 is computed"),
        ('SHARED = "You judge "', 'SHARED = f"You {os}"', "NLI_SYSTEM_PROMPT_AUDIO: line 3 is computed"),
        ("NLI_PROMPT_AUDIO =", "NLI_PROMPT_SOUND =", "lacks the constant NLI_PROMPT_AUDIO"),
        ('"Heard? {text}"', '"Heard? {sound}"', "NLI_PROMPT_AUDIO: has other places than {text} .'sound'."),
        ('"Heard? {text}"', '"Heard?"', "audio: `user` needs one {hypothesis}"),
        ('"Heard? {text}"', '"Heard? {text"', "NLI_PROMPT_AUDIO: has other places than"),
        ("import os", "import", "is not Python: "),
        ("os.abort()", "NLI_PROMPT_TEXT += '!'", "sets NLI_PROMPT_TEXT 2 times"),
        ("os.abort()", "if os.name:\n    NLI_PROMPT = '{text}'", "sets NLI_PROMPT 2 times"),
        (PYTHON, "print('hello')", "needs one or more of the keys text"),
    ],
)
def test_what_a_python_file_lacks_is_named(tmp_path, old, new, message):
    """By the constant."""
    assert old in PYTHON
    with pytest.raises(ValueError, match=message):
        read_python(tmp_path, PYTHON.replace(old, new))
