"""A small dataset with every config, built as a user builds it."""

from pathlib import Path

import pytest

from datasets_scripts.build import main as build


SIZES = "--train 24 --validation 6 --test 12"
UNLI = """id,pre,hyp,nli,unli
1,A man sleeps.,A man runs.,0,0.01
2,A man sleeps.,A man is tired.,1,0.6
3,A dog runs.,An animal runs.,2,0.99
""" + "".join(f"{k},Premise {k // 2}.,Hypothesis {k}.,1,0.{k}\n" for k in range(4, 44))


@pytest.fixture(scope="session")
def unli_raw(tmp_path_factory) -> Path:
    """A folder with a development set in the layout of UNLI's: 43 rows about 22 premises, two with one row."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "dev.csv").write_text(UNLI)
    return folder


@pytest.fixture(scope="session")
def umui(tmp_path_factory, unli_raw) -> Path:
    """The dataset folder with all configs, `unli` built first."""
    folder = tmp_path_factory.mktemp("data") / "umui"
    build(["unli", "--raw", str(unli_raw), "--output-dir", str(folder)])
    build(["urn", "--output-dir", str(folder), *SIZES.split(), "--workers", "2"])
    return folder
