"""Files of any content, and configurations of any values, are read correctly or refused with the documented error."""

import gzip
import io
import json
import re
import struct
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l2rw_core.audit import read_data
from l2rw_core.datasets import DataCorrupt, DataUnavailable, Source, load
from l2rw_core.experiments import Curve, Experiment, Record, load_records
from l2rw_core.running.checkpoints import read_checkpoint, sealed

few = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def spoilt(draw, whole: bytes) -> bytes:
    """Bytes of any kind, or a good file of which a few bytes are others or the end is missing."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=100))
    content = bytearray(whole)
    for place in draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.just(len(content)) | st.integers(0, len(content)))])


IMAGES = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
LABELS = np.array([0, 4, 9], np.uint8)


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    return buffer.getvalue()


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


IDX = {
    f"{part}-{kind}-ubyte": idx(a)
    for part in ("train", "t10k")
    for kind, a in (("images-idx3", IMAGES), ("labels-idx1", LABELS))
}


@few
@given(spoilt(npz()))
def test_npz_of_a_data_set(content):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "mnist.npz").write_bytes(content)
        try:
            assert isinstance(load("mnist", folder), Source)
        except DataCorrupt as error:
            assert "mnist.npz" in str(error)  # noqa: PT017


@few
@given(st.data())
def test_idx_files(data):
    name = data.draw(st.sampled_from(sorted(IDX)))
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "MNIST", "raw")
        raw.mkdir(parents=True)
        for file, whole in IDX.items():
            (raw / file).write_bytes(data.draw(spoilt(whole)) if file == name else whole)
        try:
            assert load("mnist", folder, download=False).image_shape == (1, 3, 3)
        except DataCorrupt as error:
            assert re.search("damaged|must|labels|differ|empty", str(error))  # noqa: PT017


@few
@given(spoilt(gzip.compress(idx(IMAGES))))
def test_idx_archives(content):
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "MNIST", "raw")
        raw.mkdir(parents=True)
        (raw / "train-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises((DataCorrupt, DataUnavailable), match=r"is damaged|is not in"):
            load("mnist", folder, download=False)


def parquet() -> bytes:
    return pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "y"], "label": ["u", "v", "u"]}).to_parquet()


@few
@given(data=st.data())
def test_tables(tmp_path, data):
    pytest.importorskip("pyarrow", reason="parquet files need pyarrow, which the extra `tables` installs")
    file = tmp_path / "a.parquet"
    file.write_bytes(data.draw(spoilt(parquet())))
    try:
        assert len(read_data(file)) > 0
    except ValueError as error:
        assert file.name in str(error)  # noqa: PT017


def saved() -> bytes:
    buffer = io.BytesIO()
    torch.save({"step": 3, "x": torch.arange(5)}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("signed", [False, True])
@few
@given(data=st.data())
def test_checkpoints(tmp_path, signed, data):
    """Also where the checksum is right, as a foreign hand may make it."""
    file = tmp_path / "run"
    payload = saved()
    if signed:
        payload = data.draw(spoilt(payload))
    whole = sealed(payload, 0.5)
    content = whole if signed else data.draw(spoilt(whole))
    file.write_bytes(content)
    try:
        state = read_checkpoint(file, torch.device("cpu"))
    except ValueError as error:
        assert "delete it" in str(error)  # noqa: PT017
    else:
        assert isinstance(state, dict)
        assert signed or content == whole


def a_line() -> str:
    curve = Curve()
    curve.add(0, accuracy=0.5)
    record = Record(
        Experiment(), "0" * 64, [2, 3], 0.0, curve, [0.5, 0.5], "2026-01-01T00:00:00Z", 1.0, {"device": "CPU"}
    )
    return record.to_json()


@few
@given(spoilt(a_line().encode() + b"\n"))
@pytest.mark.filterwarnings("ignore:.*torn line")
def test_record_files(content):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "fig2.jsonl").write_bytes(content)
        try:
            found = load_records("fig2", Path(folder))
        except ValueError as error:
            assert "fig2.jsonl, line" in str(error)  # noqa: PT017
        else:
            assert [record.to_json() for record in found] in ([], [a_line()])


@few
@given(st.sampled_from(sorted(json.loads(a_line()))), values)
def test_record_lines_of_before_there_were_checksums(name, value):
    line = {key: entry for key, entry in json.loads(a_line()).items() if key != "sha256"}
    try:
        assert isinstance(Record.from_json(json.dumps(line | {name: value})), Record)
    except ValueError as error:
        assert str(error)  # noqa: PT017


names = st.sampled_from([field.name for field in fields(Experiment)])
kinds = st.sampled_from(["PairImbalance", "LongTail", "UniformFlip", "Subset", "Blur"])
numbers = st.dictionaries(st.sampled_from(["rate", "size", "factor", "minority"]), values)
biases = st.lists(st.builds(lambda kind, rest: rest | {"kind": kind}, kinds, numbers), max_size=2)


@settings(max_examples=200)
@given(st.dictionaries(names | st.text(max_size=5), values, max_size=4), st.none() | biases | values)
def test_experiments(entries, wanted):
    if wanted is not None:
        entries = entries | {"biases": wanted}
    try:
        experiment = Experiment.from_dict(entries)
    except ValueError as error:
        assert str(error)  # noqa: PT017
    else:
        assert Experiment.from_dict(json.loads(json.dumps(experiment.to_dict()))) == experiment
        assert hash(experiment) == hash(experiment.with_())
