"""What a log keeps of the lines that it finds."""

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
