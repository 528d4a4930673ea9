"""The grids are the paper's tables and figures, and every cell is a valid experiment."""

import pandas as pd
import pytest

from l2rw_core import methods
from l2rw_core.datasets import BackgroundFlip, UniformFlip
from l2rw_core.experiments import SCALES, fit, grid, grid_names, results_root

REPORTED = pd.read_csv(results_root().parent / "reported.csv")


@pytest.mark.parametrize("table", [1, 2])
def test_a_table_has_a_cell_for_every_reported_number(table):
    """The constructor of an experiment checks its values, so a cell that stands here can be run."""
    cells = {(cell.row, cell.experiment.data) for cell in grid(f"table{table}", "paper").cells}
    rows = REPORTED[REPORTED.table == table]
    assert len(rows) > 15
    assert cells == set(zip(rows.method, rows.dataset, strict=True))


@pytest.mark.parametrize("table", [1, 2])
def test_every_row_of_a_table_has_a_counterpart_at_the_reduced_scale(table):
    for data in ("mnist", "fashion_mnist"):
        rows = {cell.row for cell in grid(f"table{table}", "reduced").cells if cell.experiment.data == data}
        assert set(REPORTED[REPORTED.table == table].method) <= rows


def test_every_method_runs_somewhere():
    used = {c.experiment.method for name in grid_names() for s in SCALES for c in cells_if_any(name, s)}
    assert used == set(methods.METHODS)


def cells_if_any(name, scale):
    try:
        return grid(name, scale).cells
    except ValueError:
        return ()


@pytest.mark.parametrize("name", grid_names())
@pytest.mark.parametrize("scale", SCALES)
def test_cells_are_distinct_and_say_where_they_stand(name, scale):
    cells = cells_if_any(name, scale)
    places = [(cell.row, cell.column) for cell in cells]
    assert len(places) == len(set(places))
    assert all(cell.experiment.scale == scale for cell in cells)
    for cell in cells:
        assert cell.place.get("data", cell.experiment.data) == cell.experiment.data
        rate = cell.place.get("noise")
        assert rate is None or cell.experiment.biases[-1].rate == rate
        assert cell.place.get("clean", cell.experiment.clean_size) == cell.experiment.clean_size


def test_settings_of_the_paper():
    """Facts of Sections 4.1 and 4.2."""
    fig2 = grid("fig2").cells[0].experiment
    assert (fig2.steps, fig2.batch_size, fig2.lr, fig2.clean_size, fig2.model) == (8000, 100, 1e-3, 10, "lenet")
    one = {c.row: c.experiment for c in grid("table1").cells if c.experiment.data == "cifar10"}
    assert (one["l2rw"].model, one["l2rw"].clean_size, one["l2rw"].steps) == ("wrn28_10", 1000, 60_000)
    assert one["l2rw"].lr_drops == (40_000, 50_000)
    assert one["l2rw"].biases == (UniformFlip(0.4),)
    two = {c.row: c.experiment for c in grid("table2").cells if c.experiment.data == "cifar10"}
    assert (two["l2rw"].model, two["l2rw"].clean_size, two["l2rw"].steps) == ("resnet32", 100, 80_000)
    assert two["l2rw"].lr_drops == (40_000, 60_000)
    assert (two["baseline+es"].steps, two["baseline+es"].lr_drops) == (60_000, (40_000, 50_000))
    assert (two["s-model+conf+es+ft"].method, two["s-model+conf+es+ft"].fine_tune_steps) == ("s_model_conf", 5_000)
    hundred = next(c.experiment for c in grid("table2").cells if c.experiment.data == "cifar100")
    assert hundred.clean_size == 1000


def test_background_classes_are_those_of_the_papers_splits():
    cell = next(c for c in grid("table2").cells if c.row == "l2rw" and c.experiment.data == "cifar10")
    trials = [cell.trial(seed) for seed in range(5)]
    assert [t.seed for t in trials] == [0, 1, 2, 3, 4]
    assert sorted(t.biases[-1].background for t in trials) == [0, 1, 3, 5, 7]
    assert isinstance(trials[0].biases[-1], BackgroundFlip)
    hundred = next(c for c in grid("table2").cells if c.row == "l2rw" and c.experiment.data == "cifar100")
    assert sorted(hundred.trial(s).biases[-1].background for s in range(5)) == [7, 12, 41, 62, 85]


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(ValueError, match="'fig9'; choose one of fig2, pair_8_2, settings_200"):
        grid("fig9")
    with pytest.raises(ValueError, match="fig2 has no scale 'reduced'; choose one of paper, quick"):
        grid("fig2", "reduced")


@pytest.mark.parametrize("table", [1, 2])
def test_a_reweighted_run_on_the_embedded_images_learns(table):
    """At the rate of the digits it ended at chance, or not, by the order in which sums were taken."""
    (cell,) = (cell for cell in grid(f"table{table}", "quick").cells if cell.row == "l2rw")
    embedded = cell.embedded
    assert (embedded.place["data"], embedded.experiment.model) == ("fashion_small", "mlp")
    assert fit(embedded.trial(0), progress=False).last > 0.6
