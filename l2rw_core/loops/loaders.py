"""What a loop of one's own needs beside its loader: clean batches without an end, and the number of each example."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, Dataset, IterableDataset


def clean_batches(loader: Iterable[Any]) -> Iterator[Any]:
    """Batches of a loader without an end: when it is through, it begins anew, and shuffles anew if it shuffles.

    `itertools.cycle` would keep the first round in memory and repeat its order for ever.

    Args:
        loader: a ``DataLoader`` of the trusted examples, or anything that can be gone through again.

    Raises:
        TypeError: if it can be gone through only once, or gives examples and no batches, as a data set does.
        ValueError: if it has no batch, as one with ``drop_last=True`` and fewer examples than a batch.

    Example::

        clean = clean_batches(DataLoader(trusted, batch_size=100, shuffle=True))
        for batch in loader:
            step = reweighter.step(batch, next(clean))
    """
    if isinstance(loader, Iterator):  # not by iter(): that begins a round, with its workers and its shuffling
        raise TypeError(f"{type(loader).__name__} can be gone through only once: give the DataLoader itself")
    if isinstance(loader, Dataset):
        raise TypeError(f"{type(loader).__name__} gives one example at a time: put it into a DataLoader")
    return _rounds(loader)


def _rounds(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        empty = True
        for batch in loader:
            empty = False
            yield batch
        if empty:
            raise ValueError(
                "the clean loader has no batch: is its data set empty, or smaller than a batch with drop_last?"
            )


def with_ids(dataset: Dataset[Any]) -> WithIds:
    """The same data set, which also gives the number of each example: what a `l2rw_core.ledger.WeightLedger` asks for.

    ``(inputs, label)`` becomes ``(inputs, label, id)``, and a dictionary gets an entry ``"id"``.

    Raises:
        TypeError: if examples have no number, as in a stream or a loader.

    Example::

        for inputs, labels, ids in DataLoader(with_ids(data), batch_size=100, shuffle=True):
            ledger.record(reweighter.step((inputs, labels), next(clean), ids))
    """
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise TypeError(
            f"{type(dataset).__name__} has no numbered examples: let it give an id with each example itself"
        )
    if isinstance(dataset, DataLoader):
        raise TypeError("a DataLoader gives batches: number its data set, as in DataLoader(with_ids(data), ...)")
    return WithIds(dataset)


class WithIds(Dataset[Any]):
    """See `with_ids`."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, number: int) -> Any:
        example = self.dataset[number]
        number = range(len(self))[number] if isinstance(number, int) else number  # the last one is not the example -1
        if isinstance(example, Mapping):
            if "id" in example:
                raise ValueError("the examples have an entry 'id' already: use it, or rename it")
            return {**example, "id": number}
        return (*example, number) if isinstance(example, tuple | list) else (example, number)
