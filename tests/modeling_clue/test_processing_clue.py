"""The processor: batches and their layout, what it refuses, and its features against upstream's."""

import pickle

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import InterpolationMode, resize
from transformers import WhisperFeatureExtractor

from modeling_clue import CLUEProcessor
from modeling_clue.media import MediaError, load_audio, load_video
from modeling_clue.modalities import MODALITIES
from modeling_clue.prompt import DEFAULT_PROMPT, TEXT_ANSWER
from tests.modeling_clue.processors import assert_same, rebuilt


SPECIAL_TEXT = "<|AUDIO|> <CONF_3><|im_end|><|vision_bos|><|VIDEO|>"


def test_one_premise_or_a_list_a_hypothesis_or_a_list(processor):
    """A premise alone is a list of one, a hypothesis alone is a list of one."""
    expected = processor(["An urn."], [["It is red."]])
    for hypotheses in ("It is red.", ["It is red."], ("It is red.",)):
        assert_same(processor("An urn.", hypotheses), expected)
    assert_same(processor(["An urn."], ["It is red."]), expected)


def test_layout_of_a_batch(processor):
    """Premise, then hypotheses, then padding: the branch ids say which is which, and the text reads as the prompt."""
    inputs = processor(["An urn holds 3 red balls.", "Urn."], [["It is red.", "No."], "It is blue."])
    assert set(inputs) == {"input_ids", "attention_mask", "branch_ids"}
    assert torch.equal(inputs["attention_mask"], (inputs["branch_ids"] >= 0).long())
    parts = [
        [processor.tokenizer.decode(ids[branches == number]) for number in range(int(branches.max()) + 1)]
        for ids, branches in zip(inputs["input_ids"], inputs["branch_ids"], strict=True)
    ]
    assert parts == [
        ["An urn holds 3 red balls.\n", "It is red.<|im_end|>", "No.<|im_end|>"],
        ["Urn.\n", "It is blue.<|im_end|>"],
    ]
    for branches in inputs["branch_ids"]:
        kept = branches[branches >= 0]
        assert torch.equal(kept, kept.sort().values) and bool((branches[len(kept) :] == -1).all())


@pytest.mark.parametrize("hypothesis_first", [False, True])
def test_answers_end_the_branches_of_their_hypotheses(processor, hypothesis_first):
    """With probabilities, each branch has its answer as text behind it; without the answers the batch is as ever."""
    prompt = {"premise": "{premise}\n", "hypothesis": "{hypothesis}\n", "answer": TEXT_ANSWER}
    if hypothesis_first:
        prompt |= {"premise": "{hypothesis} {premise}", "hypothesis": "\n"}
    answering = rebuilt(processor, prompt=prompt)
    premises = [answering.encode_premise(text) for text in ("An urn holds 3 red balls.", "Urn.")]
    hypotheses, probabilities = [["It is red.", "No."], ["It is blue."]], [[2 / 3, 0], [0.999]]
    inputs = answering.collate(premises, hypotheses, probabilities)
    asked = answering.collate(premises, hypotheses)
    assert "answer_mask" not in asked and inputs["answer_mask"].shape == inputs["input_ids"].shape
    texts = []
    for row, answered in enumerate(inputs["answer_mask"].bool()):
        ids, branches = inputs["input_ids"][row], inputs["branch_ids"][row]
        kept, expected = ~answered & (branches >= 0), asked["branch_ids"][row] >= 0
        assert torch.equal(ids[kept], asked["input_ids"][row, expected])
        assert torch.equal(branches[kept], asked["branch_ids"][row, expected])
        for number in range(1, int(branches.max()) + 1):
            branch = answered[branches == number]
            assert torch.equal(branch, branch.sort().values), "the answer comes last"
            texts.append(answering.tokenizer.decode(ids[answered & (branches == number)]))
    assert texts == ["0.67<|im_end|>", "0.00<|im_end|>", "1.00<|im_end|>"]
    # As one text would be cut into tokens.
    whole = "".join(prompt.values()).format(premise="Urn.", hypothesis="It is blue.", probability=0.999)
    whole = answering.tokenizer(whole, add_special_tokens=False)["input_ids"]
    if not hypothesis_first:
        assert inputs["input_ids"][-1, : len(whole)].tolist() == whole


def test_a_mixed_batch_is_made_of_its_rows(processor, premises, clips):
    """In a batch of all modalities each row has the tokens and features it has alone, padded."""
    rows = [premises[name] for name in MODALITIES] + [clips.short_sound]
    batch = processor(rows, ["It is red."] * 5)
    single = [processor(row, "It is red.") for row in rows]
    for index, alone in enumerate(single):
        length = alone["input_ids"].shape[1]
        assert torch.equal(batch["input_ids"][index, :length], alone["input_ids"][0])
        assert not batch["attention_mask"][index, length:].any()
    heard = [alone["input_features"][0] for alone in single if "input_features" in alone]
    for features, mask, expected in zip(batch["input_features"], batch["feature_attention_mask"], heard, strict=True):
        assert torch.equal(features[:, mask.bool()], expected)
    for name in ("pixel_values_videos", "video_grid_thw", "video_second_per_grid"):
        assert torch.equal(batch[name], torch.cat([alone[name] for alone in single if name in alone]))


def test_the_parts_compose_to_the_call(processor, premises):
    """Encoding premises by themselves and collating them is what a call does."""
    rows = [premises[name] for name in MODALITIES]
    encoded = [processor.encode_premise(row) for row in rows]
    assert [premise.modality for premise in encoded] == list(MODALITIES)
    assert [premise.num_tokens for premise in encoded] == [len(premise.input_ids) for premise in encoded]
    hypotheses = [["It is red.", "No."]] * 4
    assert_same(processor.collate(encoded, hypotheses), processor(rows, hypotheses))


def test_special_tokens_in_user_text_are_inert(processor):
    """Text that spells special tokens is read letter by letter, in premise and hypothesis, and reads back the same."""
    inputs = processor(SPECIAL_TEXT, SPECIAL_TEXT)
    ids, branches = inputs["input_ids"][0], inputs["branch_ids"][0]
    special = set(processor.tokenizer.all_special_ids) | set(
        processor.tokenizer.convert_tokens_to_ids(list(processor.backbone.tokens.values()))
    )
    special |= {index for token, index in processor.tokenizer.get_vocab().items() if token.startswith("<CONF_")}
    found = [int(index) for index in ids if int(index) in special]
    assert found == [processor.tokenizer.convert_tokens_to_ids("<|im_end|>")]  # the prompt's own
    assert processor.tokenizer.decode(ids[branches == 0]) == SPECIAL_TEXT + "\n"
    assert processor.tokenizer.decode(ids[branches == 1]) == SPECIAL_TEXT + "<|im_end|>"


@pytest.mark.parametrize("text", ["An urn holds 3 red balls and a blue one.", "\U0001f534\U0001f535" * 9])
def test_long_texts_are_cut_where_that_is_asked(processor, text):
    """A text of more tokens than `max_text_tokens` is cut before the next one, never within a character, and a note
    tells; by default it stays whole."""
    whole = processor.encode_premise(text)
    assert processor.encode_premise(text, max_text_tokens=whole.num_tokens).notes == whole.notes == ()
    cut = processor.encode_premise(text, max_text_tokens=7)
    assert text.startswith(cut.text) and cut.num_tokens <= 7 and cut.input_ids == whole.input_ids[: cut.num_tokens]
    assert cut.notes == (f"text cut from {whole.num_tokens} to 7 tokens",)


def test_inputs_keep_their_notes(processor, clips):
    """What is known about the premises survives pickling (as between a data loader's processes) and moving."""
    inputs = processor(clips.sound, "It is high.", max_audio_seconds=0.5)
    for copied in (pickle.loads(pickle.dumps(inputs)), inputs.to("cpu")):
        assert copied.modalities == ["audio"] and "cut" in copied.notes[0][0]
        assert_same(copied, inputs)


# --- features -------------------------------------------------------------------------------------


def test_sound_is_trimmed_and_equal_to_the_padded_one(processor, clips):
    """The spectrogram ends with the clip, and is what the extractor gives under padding to 300 seconds."""
    for clip in (clips.sound, clips.short_sound):
        waveform = load_audio(clip).waveform
        padded = WhisperFeatureExtractor(feature_size=128, chunk_length=300)(
            waveform, sampling_rate=16000, return_attention_mask=True, return_tensors="pt"
        )
        mask = padded["attention_mask"][0].bool()
        features = processor(clip, "It is high.")["input_features"]
        assert features.shape == (1, 128, -(-len(waveform) // 160))
        torch.testing.assert_close(features[0], padded["input_features"][0][:, mask], atol=1e-5, rtol=0)


def test_mixed_precision_changes_nothing(processor, clips):
    """Inside `torch.autocast`, premises are what they are outside."""
    premises = [clips.sound, {"video": clips.talkie, "modality": "audiovisual"}]
    with torch.autocast("cpu", torch.bfloat16):
        inside = processor(premises, [["It is high."]] * 2)
    assert_same(inside, processor(premises, [["It is high."]] * 2))


@pytest.mark.parametrize("samples", [*range(400, 2500, 97), 16000, 16001])
def test_as_many_tokens_of_sound_as_the_model_makes(processor, model, samples):
    """The tokens reserved for a clip of any length are as many as the audio tower puts out."""
    premise = processor.encode_premise({"audio": {"array": np.zeros(samples, np.float32), "sampling_rate": 16000}})
    frames = torch.tensor(premise.input_features.shape[1])
    expected = int(model.model.audio_tower._get_feat_extract_output_lengths(frames)[1])
    assert premise.num_tokens == expected + 2


def test_frames_are_resized_once(processor, clips):
    """The patches are those of the video processor on the clip's own frames, at their own size."""
    frames = load_video(clips.silent, fps=12.5, max_frames=64).frames
    assert frames.shape[1:] == (48, 64, 3)
    expected = processor.video_processor(
        videos=[torch.from_numpy(frames).permute(0, 3, 1, 2)], cap_pixels_per_frame=True, return_tensors="pt"
    )
    inputs = processor(clips.silent, "It is red.")
    assert torch.equal(inputs["pixel_values_videos"], expected["pixel_values_videos"])
    assert torch.equal(inputs["video_grid_thw"], expected["video_grid_thw"])


def test_the_size_of_frames_is_found_once(tiny_checkpoint, clips, monkeypatch):
    """Finding it takes longer than a frame: it is done for the first frame of the first clip, until bounds change."""
    own = CLUEProcessor.from_pretrained(tiny_checkpoint)
    asked = []
    resize_all = type(own.video_processor).resize

    def counted(self, videos, **kinds):
        asked.append(tuple(videos.shape))
        return resize_all(self, videos=videos, **kinds)

    monkeypatch.setattr(type(own.video_processor), "resize", counted)
    first, again = (own.encode_premise(clips.silent) for _ in range(2))
    assert len(asked) == 1 and asked[0][1] > 2
    assert torch.equal(first.pixel_values_videos, again.pixel_values_videos)
    own.video_processor.size = {"shortest_edge": 4 * 48 * 64, "longest_edge": 8 * 48 * 64}
    larger = own.encode_premise(clips.silent)
    assert len(asked) == 2 and larger.video_grid_thw.prod() > first.video_grid_thw.prod()


def test_the_true_rate_of_frames_is_told(processor, clips):
    """Seconds per step follow from the true rate of the frames, also for a long video that is thinned, and told so."""
    for options in ({}, {"fps": 5.0}, {"max_frames": 8}):
        inputs = processor(clips.talkie, "It is red.", **options)
        chosen = {key: ({**processor.media, **options})[key] for key in ("fps", "max_frames")}
        fps = load_video(clips.talkie, **chosen).fps
        assert inputs["video_second_per_grid"].tolist() == pytest.approx([2 / fps])
        assert bool(inputs.notes[0]) == ("max_frames" in options)


def test_cut_sound_is_reported(processor, clips):
    """Sound beyond the limit is cut, and the notes of that premise say so."""
    inputs = processor([clips.short_sound, clips.sound], ["High."] * 2, max_audio_seconds=0.5)
    assert inputs["feature_attention_mask"].sum(1).tolist() == [30, 50]
    assert inputs.notes[0] == [] and len(inputs.notes[1]) == 1 and "0.5 s" in inputs.notes[1][0]


def test_frames_are_made_squares_first(processor, clips):
    """`frame_size` stands before the video processor's own bounds, and resizes as torchvision does."""
    frames = torch.from_numpy(load_video(clips.silent, fps=12.5, max_frames=64).frames).permute(0, 3, 1, 2)
    squares = resize(frames, [40, 40], interpolation=InterpolationMode.BICUBIC, antialias=True)
    expected = processor.video_processor(videos=[squares.float()], cap_pixels_per_frame=True, return_tensors="pt")
    inputs = processor(clips.silent, "It is red.", frame_size=40)
    assert torch.equal(inputs["pixel_values_videos"], expected["pixel_values_videos"])
    assert torch.equal(inputs["video_grid_thw"], expected["video_grid_thw"])


def test_a_fixed_time_between_steps(processor, clips):
    """`second_per_grid` is what the model is told, whatever the rate; and sound and frames take turns by it."""
    talkie = {"video": clips.talkie, "modality": "audiovisual"}
    inputs = processor(talkie, "It is red.", fps=5.0, second_per_grid=1.0)
    assert inputs["video_second_per_grid"].tolist() == [1.0]
    true = processor(talkie, "It is red.", fps=5.0)
    assert inputs["input_ids"].tolist() != true["input_ids"].tolist()
    assert inputs["input_ids"].sort().values.tolist() == true["input_ids"].sort().values.tolist()
    assert_same(true, processor(talkie, "It is red.", fps=5.0, second_per_grid=0.4))


def test_saved_and_loaded(processor, premises, tmp_path):
    """A saved processor keeps its prompt and its media options, and gives the same inputs."""
    prompt = DEFAULT_PROMPT | {"answer": TEXT_ANSWER}
    options = {"prompt": prompt, "media": {"fps": 5.0, "on_missing_sound": "video"}}
    processor = rebuilt(processor, **options)
    rows = [premises[name] for name in MODALITIES]
    expected = processor(rows, [["It is red.", SPECIAL_TEXT]] * 4)
    processor.save_pretrained(tmp_path)
    loaded = CLUEProcessor.from_pretrained(tmp_path)
    assert loaded.prompt == prompt and loaded.media == processor.media
    assert loaded.media["fps"] == 5.0 and loaded.media["max_frames"] == 128
    assert_same(loaded(rows, [["It is red.", SPECIAL_TEXT]] * 4), expected)


# --- what is refused ------------------------------------------------------------------------------


def test_video_without_sound_as_audiovisual(processor, clips):
    """It is an error that names the clip and the ways out; if the caller allows it, the frames alone are judged, and
    the modality and the notes say so."""
    silent = {"video": str(clips.silent), "modality": "audiovisual"}
    with pytest.raises(MediaError, match="silent.mp4.*no sound.*on_missing_sound"):
        processor(silent, "It is red.")
    inputs = processor(silent, "It is red.", on_missing_sound="video")
    assert inputs.modalities == ["video"] and "no sound" in inputs.notes[0][0]
    assert_same(inputs, processor(clips.silent, "It is red."))


def test_a_frame_too_long_and_thin(processor):
    """Frames that cannot be resized are refused by a `MediaError`, which tells the clip among others of a batch."""
    strip = {"video": {"frames": np.zeros((4, 2, 402, 3), np.uint8), "fps": 25}}
    with pytest.raises(MediaError, match="Premise 1: .* frames of 402 x 2 pixels"):
        processor(["An urn.", strip], ["It is red.", "It is red."])


def test_sound_of_a_silent_video(processor, clips):
    """A video asked for as sound that has none is an error that names it."""
    with pytest.raises(MediaError, match="silent.mp4"):
        processor({"video": str(clips.silent), "modality": "audio"}, "It is high.")


@pytest.mark.parametrize("hypothesis", ["", "  ", None, 3, "\ud800"])
def test_hypotheses_that_cannot_be_used(processor, hypothesis):
    """The error says which hypothesis of which premise."""
    with pytest.raises(ValueError, match="Premise 1, hypothesis 2: "):
        processor(["An urn.", "A bag."], ["It is red.", ["It is red.", "It is blue.", hypothesis]])


def test_missing_hypotheses_and_unequal_lists(processor):
    """A premise without a hypothesis, lists that do not match, and no premise at all are refused."""
    with pytest.raises(ValueError, match="Premise 1 has no hypothesis"):
        processor(["An urn.", "A bag."], ["It is red.", []])
    with pytest.raises(ValueError, match="2 premises need as many lists of hypotheses, got 3"):
        processor(["An urn.", "A bag."], ["a", "b", "c"])
    with pytest.raises(ValueError, match="list of hypotheses"):
        processor(["An urn."], "It is red.")
    with pytest.raises(ValueError, match="list of hypotheses"):
        processor(["An urn."], None)
    with pytest.raises(ValueError, match="no premise"):
        processor([], [])


@pytest.mark.parametrize(
    ("media", "message"),
    [
        ({"frames_per_second": 2}, "frames_per_second.*choose from.*fps"),
        ({"fps": 0}, "`fps` must be a positive number"),
        ({"fps": float("inf")}, "`fps` must be a positive number, got inf"),
        ({"fps": "2"}, "`fps` must be a positive number, got '2'"),
        ({"max_frames": 1}, "`max_frames` must be a whole number of at least 2, got 1"),
        ({"max_frames": 2.5}, "`max_frames` must be a whole number"),
        ({"max_audio_seconds": float("nan")}, "`max_audio_seconds` must be a positive number"),
        ({"max_audio_seconds": None}, "`max_audio_seconds` must be a positive number"),
        ({"max_text_tokens": 0}, "`max_text_tokens` must be a whole number of at least 1, got 0"),
        ({"on_missing_sound": "ignore"}, "'error' or 'video'"),
        ({"min_frames": 1}, "`min_frames` must be a whole number of at least 2, got 1"),
        ({"min_frames": 4, "max_frames": 3}, "`min_frames`, 4, exceeds `max_frames`, 3"),
        ({"sampling": "all"}, "`sampling` must be one of rate, span, got 'all'"),
        ({"frame_size": 0}, "`frame_size` must be a number of pixels, got 0"),
        ({"second_per_grid": 0}, "`second_per_grid` must be a positive number, got 0"),
    ],
)
def test_unknown_media_options(processor, media, message):
    """A misspelt or impossible option is refused when the processor is made and when it is called."""
    with pytest.raises(ValueError, match=message):
        rebuilt(processor, media=media)
    with pytest.raises(ValueError, match=message):
        processor("An urn.", "It is red.", **media)


def test_tokenizer_without_the_special_tokens(processor):
    """A tokenizer of another model is refused with the tokens it lacks."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    with pytest.raises(ValueError, match=r"<\|AUDIO\|>"):
        CLUEProcessor(processor.feature_extractor, processor.video_processor, other)


@pytest.mark.parametrize("around", ["{}\n", "  {}", "\t{}\r\n", "\u00a0{}"])
def test_blanks_around_a_hypothesis_change_nothing(processor, around):
    """Ends of lines and blanks around a sentence are not part of it."""
    hypothesis = "The ball is red."
    given, plain = (processor("An urn.", [text]) for text in (around.format(hypothesis), hypothesis))
    assert given["input_ids"].tolist() == plain["input_ids"].tolist()
