"""What is known of each source, for the card of a release: where it is from, its terms, how its labels come."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """
    What the card says of a source.

    Args:
        title (`str`): Its name.
        what (`str`): What it is, in a sentence or two.
        url (`str` or `None`): Where it is published.
        licences (`tuple[str, ...]`): Ids on the Hub of the licences of what is passed on, the labels' first.
        terms (`str`): What the first licence covers, and what it doesn't.
        media_allowed (`bool`): Whether its clips may be passed on with the labels.
        labels (`str`): How labels and probabilities come about.
        limits (`str` or `None`): What a user should know before relying on it.
        citation (`str` or `None`): Whom to cite.
        extends (`str`): Its value among the card's `source_datasets`.
        people (`str` or `None`): Who judged, as the card's `annotations_creators` puts it, where people did.
    """

    title: str
    what: str
    url: str | None
    licences: tuple[str, ...]
    terms: str
    media_allowed: bool
    labels: str
    limits: str | None
    citation: str | None
    extends: str
    people: str | None


FACTS = {
    "urn": Facts(
        title="Urn world",
        what=(
            "Generated premises: an urn described in words, a sound of high, middle and low beeps, a video of "
            "coloured balls, or both at once. A hypothesis speaks of one ball or beep drawn at random."
        ),
        url=None,
        licences=("apache-2.0",),
        terms="texts, clips and probabilities, which this project's code generates",
        media_allowed=True,
        labels=(
            "The probability is exact: the share of events in the premise of which the hypothesis is true. The label "
            "is 1 or 0 where that is certain, else none."
        ),
        limits="The urn world has a few dozen words and nothing of real scenes: it checks machinery, not judgement.",
        citation=None,
        extends="original",
        people=None,
    ),
    "unli": Facts(
        title="UNLI",
        what="Premise-hypothesis pairs of SNLI (captions of photographs) with people's judgements on a sliding scale.",
        url="https://arxiv.org/abs/1909.03042",
        licences=("cc-by-sa-4.0",),
        terms="texts and judgements, derived from SNLI, which has the same licence",
        media_allowed=True,
        labels=(
            "The probability is the published one, a mean of several crowd workers; their single answers are not "
            "published. The label is SNLI's: entailment 1, contradiction 0, neutral none. Rows whose id begins with "
            "`unli-dev-` are of UNLI's development set, in whatever split they are here."
        ),
        limits=(
            "UNLI's premises are one-line captions, and SNLI's known habits (words that give a contradiction away) "
            "come along."
        ),
        citation=(
            "Tongfei Chen, Zhengping Jiang, Adam Poliak, Keisuke Sakaguchi and Benjamin Van Durme (2020): Uncertain "
            "Natural Language Inference. ACL."
        ),
        extends="extended|snli",
        people="crowdsourced",
    ),
    "clotho": Facts(
        title="Clotho entailment (CLE)",
        what=(
            "Everyday sounds of 15 to 30 seconds (Clotho), each with an entailed, a neutral and a contradicted "
            "statement (Audio Entailment)."
        ),
        url="https://github.com/microsoft/AudioEntailment",
        licences=("mit", "other"),
        terms=(
            "hypotheses and categories. The clips are from Freesound, each under its author's licence, and the "
            "captions under [Clotho's own terms](https://zenodo.org/records/4783391) (attribution, no commercial "
            "use): see there before you use either"
        ),
        media_allowed=False,
        labels=(
            "An entailed hypothesis has label 1 and probability 1, a contradicted one label 0 and probability 0. A "
            "neutral one is neither: it has no label, and probability 0.5 until a teacher or people have given one."
        ),
        limits=(
            "Clotho's hypotheses were written by a language model from the captions, not from the sounds; five "
            "recordings that Clotho cut up for two splits are left to the later split."
        ),
        citation=(
            "Soham Deshmukh, Shuo Han, Hazim Bukhari, Benjamin Elizalde, Hannes Gamper, Rita Singh and Bhiksha Raj "
            "(2025): Audio Entailment: Assessing Deductive Reasoning for Audio Understanding. AAAI. Konstantinos "
            "Drossos, Samuel Lipping and Tuomas Virtanen (2020): Clotho: an Audio Captioning Dataset. ICASSP."
        ),
        extends="extended|other-clotho",
        people=None,
    ),
    "wikivideo": Facts(
        title="WikiVideo",
        what=(
            "Claims from Wikipedia articles about events, and the videos of MultiVENT 2.0 that support them or not, "
            "with people's marks of what in a video supports a claim: picture, sound or writing on the screen."
        ),
        url="https://arxiv.org/abs/2504.00939",
        licences=("other",),
        terms=(
            "claims and marks, whose terms the publishers state; sentences of articles are Wikipedia's "
            "(CC BY-SA 4.0), and the videos belong to those who made them. Ask before you pass them on"
        ),
        media_allowed=False,
        labels=(
            "Every claim of a topic meets every video of the topic. Label 1 by the published marks: for a video "
            "without its sound if pictures or writing on the screen support the claim, for a sound if sound does and "
            "neither pictures nor writing do, for a video with its sound if pictures or sound do; else 0. The "
            "probability is the label where nobody has judged the pair. A person's judgement, made with pictures and "
            "sound, is that of the audiovisual pair; the video pair has it only if no sound informed it, the audio "
            "pair only if sound alone did, both if nothing in the video did."
        ),
        limits="A claim that no mark supports is labelled false, though the video may only leave it open.",
        citation=(
            "Alexander Martin et al. (2025): WikiVideo: Article Generation from Multiple Videos. arXiv:2504.00939. "
            "Reno Kriz et al. (2025): MultiVENT 2.0: A Massive Multilingual Benchmark for Event-Centric Video "
            "Retrieval. CVPR."
        ),
        extends="extended|other-wikivideo",
        people="expert-generated",
    ),
}
