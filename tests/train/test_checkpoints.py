"""Which checkpoints a run goes on from."""

from train.checkpoints import newest_whole_checkpoint


def test_torn_checkpoints_are_passed_over(tmp_path):
    """A checkpoint counts once its state can be read and every process has left its own."""
    for step, state, ranks in [(9, "{}", 2), (10, "{}", 1), (11, '{"epoch": 1', 2), (12, None, 0)]:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
        for rank in range(ranks):
            (folder / f"rng_state_{rank}.pth").touch()
    assert newest_whole_checkpoint(str(tmp_path), 2) == str(tmp_path / "checkpoint-9")
    assert newest_whole_checkpoint(str(tmp_path), 1) == str(tmp_path / "checkpoint-10")
    assert newest_whole_checkpoint(str(tmp_path), 3) is None

    # One of two processes would not go on exactly where they stopped.
    (tmp_path / "checkpoint-10" / "trainer_state.json").unlink()
    assert newest_whole_checkpoint(str(tmp_path), 1) is None
