"""Clean batches come without an end and in ever new orders; each example knows its number."""

from itertools import islice

import pytest
import torch
from problems import background_flips
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from l2rw_core import Reweighter
from l2rw_core.ledger import WeightLedger
from l2rw_core.loops.loaders import clean_batches, with_ids
from l2rw_core.models import Mlp


def loader(n=12, **options):
    return DataLoader(TensorDataset(torch.arange(n)), **{"batch_size": 4, "shuffle": True} | options)


def test_every_round_has_each_example_once_and_an_order_of_its_own():
    torch.manual_seed(0)
    batches = [batch[0] for batch in islice(clean_batches(loader()), 12)]
    rounds = torch.cat(batches).view(4, 12)
    assert all(sorted(row.tolist()) == list(range(12)) for row in rounds)
    assert len({tuple(row.tolist()) for row in rounds}) == 4


@pytest.mark.parametrize("options", [{"n": 0, "shuffle": False}, {"n": 3, "drop_last": True}])
def test_a_loader_without_a_batch_is_an_error_and_no_endless_loop(options):
    with pytest.raises(ValueError, match="the clean loader has no batch"):
        next(clean_batches(loader(**options)))


def test_what_can_be_gone_through_only_once_is_refused_at_once():
    with pytest.raises(TypeError, match="give the DataLoader itself"):
        clean_batches(iter(loader()))


def test_a_data_set_in_place_of_a_loader_and_a_loader_in_place_of_a_data_set_are_refused():
    data = TensorDataset(torch.arange(5))
    with pytest.raises(TypeError, match="TensorDataset gives one example at a time: put it into a DataLoader"):
        clean_batches(data)
    with pytest.raises(TypeError, match=r"a DataLoader gives batches: number its data set, as in DataLoader\(with_ids"):
        with_ids(DataLoader(data))


def test_asking_for_batches_does_not_begin_a_round():
    """To begin one starts a loader's workers, and moves its shuffling."""
    shuffling = torch.Generator().manual_seed(0)
    before = shuffling.get_state()
    clean_batches(loader(generator=shuffling))
    assert torch.equal(shuffling.get_state(), before)


def test_a_number_from_the_end_is_that_of_the_example():
    assert with_ids(TensorDataset(torch.arange(5)))[-1] == (torch.tensor(4), 4)


def test_examples_come_with_their_numbers_in_any_order():
    (x, y), *_ = background_flips()
    for inputs, labels, ids in DataLoader(with_ids(TensorDataset(x, y)), batch_size=64, shuffle=True):
        assert torch.equal(inputs, x[ids])
        assert torch.equal(labels, y[ids])


def test_dictionaries_and_bare_examples_are_numbered_too():
    batch = next(iter(DataLoader(with_ids([{"x": 1.0}, {"x": 2.0}]), batch_size=2)))
    assert batch["id"].tolist() == [0, 1]
    assert with_ids([5, 6])[1] == (6, 1)
    with pytest.raises(ValueError, match="have an entry 'id' already"):
        with_ids([{"id": 3}])[0]


def test_a_stream_has_no_numbers():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([1])

    with pytest.raises(TypeError, match="Stream has no numbered examples"):
        with_ids(Stream())


def test_a_loop_with_both_fills_a_ledger():
    (x, y), trusted, _ = background_flips()
    model = Mlp([2, 8, 2]).double()
    reweighter = Reweighter(model, torch.optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss(reduction="none"))
    ledger = WeightLedger(len(y))
    clean = clean_batches(DataLoader(TensorDataset(*trusted), batch_size=8, shuffle=True))
    for inputs, labels, ids in DataLoader(with_ids(TensorDataset(x, y)), batch_size=100, shuffle=True):
        ledger.record(reweighter.step((inputs, labels), next(clean), ids))
    assert ledger.seen.tolist() == [1] * len(y)
