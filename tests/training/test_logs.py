"""What a log keeps of the lines that it finds."""

import os

import pytest

from adv_networks.errors import UserError
from adv_networks.training.logs import Log, read_metrics

FIELDS = ("step", "loss", "accuracy")


def test_lines_are_written_as_they_are_read_back(tmp_path):
    log = Log(tmp_path / "log.csv", FIELDS, 0)
    log.add(1, {"loss": 0.1 + 0.2, "other": 1.0})
    log.add(2, {"accuracy": 1 / 3})
    text = (tmp_path / "log.csv").read_text()
    assert text == "step,loss,accuracy\n1,0.30000000000000004,\n2,,0.3333333333333333\n"
    Log(tmp_path / "log.csv", FIELDS, 2)
    assert (tmp_path / "log.csv").read_text() == text


def test_lines_after_the_step_and_those_cut_short_are_dropped(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("step,loss,accuracy\n1,0.1,0.5\n2,0.2\n,,\n3,0.3,0.5\n4,0.4,0.5\n5,0.")
    Log(file, FIELDS, 3)
    assert file.read_text() == "step,loss,accuracy\n1,0.1,0.5\n3,0.3,0.5\n"


def test_lines_of_other_columns_keep_the_values_that_have_one_now(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("step,gone,accuracy\n1,7,0.5\n")
    Log(file, FIELDS, 3)
    assert file.read_text() == "step,loss,accuracy\n1,,0.5\n"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00binary", b"1,2,3\n4,5,6\n"])
def test_damaged_log_starts_anew(content, tmp_path):
    file = tmp_path / "log.csv"
    file.write_bytes(content)
    Log(file, FIELDS, 9)
    assert file.read_text() == "step,loss,accuracy\n"


def test_metrics_are_numbers_and_damage_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"metrics\.csv: expected a run's metrics, found"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.csv").write_text("step,d_loss,g_loss\n20,0.5,\n")
    (line,) = read_metrics(tmp_path)
    assert (line["step"], line["d_loss"], line["g_loss"], line["validation_pgd"]) == (20, 0.5, None, None)
    (tmp_path / "metrics.csv").write_text("step,d_loss\n20,x\n")
    with pytest.raises(UserError, match="expected a run's metrics"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(
    ("content", "found", "kept"),
    [
        (b"", "an empty file", []),
        (b"\xff\xfe\x00binary", "the columns", []),
        (b"1,2,3\n4,5,6\n", "the columns 1,2,3", []),
        (b"step,loss,accuracy\n1,0.1,0.5\n2,0.\xff,0.5\n3,0.3,0.5\n", "1 damaged", ["1,0.1,0.5", "3,0.3,0.5"]),
        (b"step,loss,accuracy\n1,0.1,0.5\n2\n3,0.3,0.5\n", "1 damaged", ["1,0.1,0.5", "3,0.3,0.5"]),
        (b"step,loss,accuracy\n1,0.1,0.5\n2,0.2,0.5\n", "none after step 2", ["1,0.1,0.5", "2,0.2,0.5"]),
        (None, "no file", []),
    ],
)
def test_lost_lines_are_said_and_the_damaged_file_is_kept(content, found, kept, tmp_path, capsys):
    file = tmp_path / "log.csv"
    if content is not None:
        file.write_bytes(content)
    Log(file, FIELDS, 3, every=1)
    assert file.read_text() == "\n".join(["step,loss,accuracy", *kept, ""])
    said = capsys.readouterr().err
    assert said.startswith(f"{file}: expected the lines up to step 3, found {found}") and said.count("\n") == 1
    beside = tmp_path / "log-damaged.csv"
    assert beside.exists() == (content is not None)
    if content is not None:
        assert beside.read_bytes() == content and f"kept as {beside.name}" in said


def test_nothing_is_said_of_what_a_kill_leaves(tmp_path, capsys):
    file = tmp_path / "log.csv"
    file.write_text("step,loss,accuracy\n20,0.1,0.5\n40,0.2,0.5\n60,0.3")
    Log(file, FIELDS, 45, every=20)
    Log(tmp_path / "new.csv", FIELDS, 0, every=20)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "text", ["d_loss,step\n0.5\n", "step,d_loss\n1,2,3\nx\n", "step\n" + "9" * 5_000 + "\n", "\0", "step\n" + "1" * 200_000]
)
def test_hostile_metrics_are_one_line(text, tmp_path):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(UserError, match=r"metrics\.csv: expected a run's metrics, found") as error:
        read_metrics(tmp_path)
    assert str(error.value).isprintable()


def test_fifo_in_place_of_a_log_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "metrics.csv")
    with pytest.raises(UserError, match="found: a FIFO in place of a file"):
        Log(tmp_path / "metrics.csv", FIELDS, 3)
    with pytest.raises(UserError, match="found: a FIFO in place of a file"):
        read_metrics(tmp_path)
