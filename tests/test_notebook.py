"""The tour runs from its first cell to its last, and shows that training on attacks helps."""

import re
from pathlib import Path

import pytest

TOUR = Path(__file__).parents[1] / "examples" / "tour.ipynb"


@pytest.mark.long
def test_tour_runs_and_its_hardened_model_is_the_more_robust(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.read(TOUR, as_version=4)
    client.NotebookClient(book, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    worst = {method: float(percent) for method, percent in re.findall(r"^(\w+) .* worst ([\d.]+)%", text, re.MULTILINE)}
    assert worst["pgd"] > worst["standard"] + 10
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
