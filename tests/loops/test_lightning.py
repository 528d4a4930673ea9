"""Lightning's trainer with reweighting trains what the loop written by hand trains."""

from collections import namedtuple
from functools import partial
from itertools import cycle, islice
from types import SimpleNamespace

import pytest
import torch
from problems import LOSS, accuracy, background_flips, by_hand, largest_difference, network
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

pytest.importorskip("lightning", reason="Lightning is not installed: the extra 'lightning' brings it")

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.utilities import CombinedLoader

from l2rw_core import Reweighter
from l2rw_core.loops.lightning import ReweightedModule

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-2)
HALVED = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The .* does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


def loaders(batch_size=50, clean_batch_size=5):
    train, clean, _ = background_flips()
    return {
        "train": DataLoader(TensorDataset(*train, torch.arange(len(train[1]))), batch_size),
        "clean": DataLoader(TensorDataset(*clean), clean_batch_size),
    }


def trainer(tmp_path, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        **quiet | {"enable_checkpointing": False, "max_epochs": 3} | options,
    )


def pairs(given, epochs=3):
    """The batches that Lightning draws: clean ones start anew with each epoch, and are cycled over within it."""
    train = [(x, y) for x, y, _ in given["train"]]
    return train * epochs, list(islice(cycle(given["clean"]), len(train))) * epochs


def test_parameters_are_those_of_the_loop_by_hand(tmp_path):
    module = ReweightedModule(network(), LOSS, SGD)
    trainer(tmp_path).fit(module, loaders())
    expected = network()
    by_hand(expected, SGD(expected.parameters()), *pairs(loaders()))
    assert module.reweighter.steps == 24
    assert largest_difference(module.model, expected) < 1e-10
    assert module.reweighter.last.ids.tolist() == list(range(350, 400))


def test_accumulation_clipping_schedule_and_warm_up_are_those_of_the_loop_by_hand(tmp_path):
    class ByTheUpdate(ReweightedModule):
        def configure_optimizers(self):
            optimizer = SGD(self.model.parameters())
            return [optimizer], [{"scheduler": HALVED(optimizer), "interval": "step"}]

    module = ByTheUpdate(network(), LOSS, accumulate=4, clip_norm=0.05, warmup=6)
    trainer(tmp_path).fit(module, loaders())
    expected = network()
    optimizer = SGD(expected.parameters())
    by_hand(expected, optimizer, *pairs(loaders()), parts=4, clip=0.05, schedule=HALVED(optimizer), warmup=6)
    assert largest_difference(module.model, expected) < 1e-10
    assert optimizer.param_groups[0]["lr"] == 0.1 / 2**6 == module.optimizers().param_groups[0]["lr"]


def test_the_last_update_of_an_epoch_may_have_fewer_batches(tmp_path):
    module = ReweightedModule(network(), LOSS, SGD, accumulate=5)
    trainer(tmp_path, max_epochs=1).fit(module, loaders())
    assert module.trainer.global_step == 2
    assert all(p.grad is None for p in module.model.parameters())


def test_a_schedule_moves_after_each_epoch(tmp_path):
    module = ReweightedModule(network(), LOSS, SGD, HALVED)
    trainer(tmp_path).fit(module, loaders())
    assert module.optimizers().param_groups[0]["lr"] == 0.1 / 2**3


def plateau(optimizer, **options):
    """Halves the rate each time it is asked and the value has not fallen by half."""
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.5, **options)


class Validated(ReweightedModule):
    """Logs the number of the epoch in validation: a value that never falls."""

    def validation_step(self, batch, batch_idx):
        self.log("val", 1.0 + self.current_epoch)


class Configured(Validated):
    """Whose `configure_optimizers` returns what a function makes of the optimizer."""

    form = staticmethod(lambda optimizer: optimizer)

    def configure_optimizers(self):
        return self.form(SGD(self.model.parameters()))


def rate(module):
    return module.optimizers().param_groups[0]["lr"]


FORMS = {
    "beside the optimizer": lambda o: {"optimizer": o, "lr_scheduler": plateau(o), "monitor": "val"},
    "with the scheduler": lambda o: {"optimizer": o, "lr_scheduler": {"scheduler": plateau(o), "monitor": "val"}},
    "in two lists": lambda o: ([o], [{"scheduler": plateau(o), "monitor": "val"}]),
    "alone in the second place": lambda o: ([o], {"scheduler": plateau(o), "monitor": "val"}),
    "in a list": lambda o: [{"optimizer": o, "lr_scheduler": {"scheduler": plateau(o), "monitor": "val"}}],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("error:The lr scheduler dict contains")
def test_a_plateau_is_seen_in_the_value_of_its_monitor_after_validation(tmp_path, form):
    module = Configured(network(), LOSS)
    module.form = FORMS[form]
    trainer(tmp_path, num_sanity_val_steps=0).fit(module, loaders(), DataLoader(background_flips()[1][0], 20))
    assert rate(module) == 0.1 / 2**2  # the first of three values is the best
    assert [c.scheduler.best for c in module.trainer.lr_scheduler_configs] == [1.0]


def test_a_monitor_that_a_class_further_up_names_is_heard(tmp_path):
    class Mixin:
        def configure_optimizers(self):
            return FORMS["with the scheduler"](SGD(self.model.parameters()))

    class Mixed(Mixin, Validated):
        pass

    class Further(Mixed):
        def configure_optimizers(self):
            return super().configure_optimizers()

        def on_fit_start(self):
            pass

    for kind in (Mixed, Further):
        module = kind(network(), LOSS)
        trainer(tmp_path).fit(module, loaders(), DataLoader(background_flips()[1][0], 20))
        assert rate(module) == 0.1 / 2**2


def test_a_plateau_can_be_given_as_a_scheduler(tmp_path):
    never = partial(plateau, mode="max")
    seen = []

    class Seen(ReweightedModule):
        def lr_scheduler_step(self, scheduler, metric):
            seen.append((float(metric), float(self.reweighter.last.clean_loss)))
            super().lr_scheduler_step(scheduler, metric)

    module = Seen(network(), LOSS, SGD, never, monitor="clean_loss")
    trainer(tmp_path).fit(module, loaders())
    assert len(seen) == 3
    assert all(metric == pytest.approx(own) for metric, own in seen)
    assert rate(module) == 0.1 / 2**2


def test_a_plateau_can_be_looked_for_after_every_update(tmp_path):
    def each(optimizer):
        return {"scheduler": plateau(optimizer, mode="max"), "interval": "step", "monitor": "train_loss"}

    module = ReweightedModule(network(), LOSS, SGD, each, accumulate=4)
    trainer(tmp_path).fit(module, loaders())
    assert rate(module) < 0.1 / 2**3


@pytest.mark.parametrize("at_the_end", [True, False])
@pytest.mark.filterwarnings("ignore:Be aware that when using .ckpt_path.")
def test_a_plateau_goes_on_from_a_checkpoint(tmp_path, at_the_end):
    """Of a checkpoint from the validation the plateau has not yet heard, with Lightning as here."""

    def run(epochs, saved=None, seed=0, **options):
        module = Configured(network(seed), LOSS)
        module.form = FORMS["with the scheduler"]
        given = {"callbacks": [saved], "enable_checkpointing": True} if saved else {}
        valid = DataLoader(background_flips()[1][0], 20)
        trainer(tmp_path, num_sanity_val_steps=0, max_epochs=epochs, **given).fit(module, loaders(), valid, **options)
        return module

    saved = ModelCheckpoint(tmp_path / "c", monitor="val", mode="max", save_on_train_epoch_end=at_the_end)
    run(2, saved)
    whole, resumed = run(4), run(4, seed=1, ckpt_path=saved.best_model_path, weights_only=False)
    assert resumed.reweighter.steps == 32
    assert rate(whole) == 0.1 / 2**3
    assert rate(resumed) == (rate(whole) if at_the_end else 2 * rate(whole))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda o: ([o], [plateau(o)]), "ReduceLROnPlateau has to know .*: give monitor="),
        (FORMS["in two lists"], "looks at 'val', and nothing was logged .*; there is clean_loss, train_loss: log it"),
    ],
)
def test_a_plateau_of_nothing_is_refused(tmp_path, form, message):
    class Unvalidated(ReweightedModule):
        def configure_optimizers(self):
            return form(SGD(self.model.parameters()))

    with pytest.raises(ValueError, match=message):
        trainer(tmp_path).fit(Unvalidated(network(), LOSS), loaders())


def test_a_plateau_that_may_wait_for_its_value_does(tmp_path):
    def lenient(optimizer):
        return {"scheduler": plateau(optimizer), "monitor": "val", "strict": False}

    module = ReweightedModule(network(), LOSS, SGD, lenient)
    with pytest.warns(RuntimeWarning, match="'val' was not logged"):
        trainer(tmp_path).fit(module, loaders())
    assert rate(module) == 0.1


def test_a_plateau_without_a_monitor_is_refused_before_a_step(tmp_path):
    module = ReweightedModule(network(), LOSS, SGD, plateau)
    with pytest.raises(ValueError, match="give monitor="):
        trainer(tmp_path).fit(module, loaders())
    assert module.reweighter.steps == 0


def test_the_callback_that_averages_parameters_averages_those_of_the_steps(tmp_path):
    module = ReweightedModule(network(), LOSS, SGD)
    trainer(tmp_path, callbacks=[EMAWeightAveraging(decay=0.7)]).fit(module, loaders())
    model = network()
    reweighter = Reweighter(model, SGD(model.parameters()), LOSS)
    averaged = AveragedModel(model, avg_fn=get_ema_avg_fn(0.7))
    for batch, clean in zip(*pairs(loaders()), strict=True):
        reweighter.step(batch, clean)
        averaged.update_parameters(model)
    assert largest_difference(module.model, averaged.module) < 1e-10
    assert largest_difference(module.model, model) > 1e-4


def test_it_beats_plain_training_where_the_clean_set_helps(tmp_path):
    (x, y), _, truth = background_flips()
    module = ReweightedModule(network(), LOSS, SGD)
    run = trainer(tmp_path, max_epochs=15)
    run.fit(module, loaders())
    plain = network()
    optimizer = SGD(plain.parameters())
    for k in range(15 * 8):
        optimizer.zero_grad()
        part = slice(k % 8 * 50, k % 8 * 50 + 50)
        LOSS(plain(x[part]), y[part]).mean().backward()
        optimizer.step()
    assert accuracy(module.model, x, truth) > accuracy(plain, x, truth) + 0.2
    assert set(run.callback_metrics) == {"train_loss", "clean_loss"}


def test_a_run_that_goes_on_from_a_checkpoint_ends_where_it_would_have(tmp_path):
    whole = ReweightedModule(network(), LOSS, SGD, warmup=12)
    trainer(tmp_path).fit(whole, loaders())
    first = trainer(tmp_path, max_epochs=1)
    first.fit(ReweightedModule(network(), LOSS, SGD, warmup=12), loaders())
    first.save_checkpoint(tmp_path / "one.ckpt")
    resumed = ReweightedModule(network(1), LOSS, SGD, warmup=12)
    trainer(tmp_path).fit(resumed, loaders(), ckpt_path=tmp_path / "one.ckpt", weights_only=True)
    assert resumed.reweighter.steps == 24
    assert largest_difference(resumed.model, whole.model) == 0


TURNED = 1000


def opposed(outputs, targets):
    """A loss that opposes that of the same batch without the mark on its labels."""
    losses = LOSS(outputs, targets % TURNED)
    return losses if targets[0] < TURNED else 0 * losses - losses.mean()


def test_a_gradient_scaler_changes_neither_clipping_nor_a_batch_without_weight(tmp_path):
    train = [(x, y + TURNED * (k % 2), ids) for k, (x, y, ids) in enumerate(loaders()["train"])]
    given = {"train": DataLoader(train, None), "clean": DataLoader(TensorDataset(*background_flips()[0]), 50)}
    module = ReweightedModule(network(), opposed, SGD, clip_norm=0.05)
    scaled = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    trainer(tmp_path, plugins=[scaled]).fit(module, given)
    assert not module.reweighter.last.weights.any()
    expected = network()
    by_hand(expected, SGD(expected.parameters()), *pairs(given), opposed, clip=0.05)
    assert largest_difference(module.model, expected) < 1e-10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: loaders()["train"], "two loaders by name"),
        (lambda: {"train": loaders()["train"]}, r"got dict\(train: list\(\(50, 2\) torch.float64 on cpu, "),
        (lambda: loaders()["train"], r"got list\(\(50, 2\) .*, \(50,\) torch.int64 on cpu\)$"),
        (lambda: list(loaders().values()), r"got list\(list\(\(50, 2\) .*\), list\(\(5, 2\) .*\)\)$"),
        (lambda: DataLoader(torch.ones(100), 50), r"got \(50,\) torch.float32 on cpu$"),
    ],
)
def test_loaders_without_a_clean_one_are_refused(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path).fit(ReweightedModule(network(), LOSS, SGD), given())


def test_several_devices_are_refused(tmp_path):
    module = ReweightedModule(network(), LOSS, SGD)
    module.trainer = SimpleNamespace(world_size=2)
    with pytest.raises(ValueError, match="2 devices would share out weights apart"):
        module.on_fit_start()


def test_several_optimizers_are_refused(tmp_path):
    class Two(ReweightedModule):
        def configure_optimizers(self):
            return [SGD([p]) for p in self.model.parameters()]

    with pytest.raises(ValueError, match="one optimizer"):
        trainer(tmp_path).fit(Two(network(), LOSS), loaders())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate must be a whole number of batches, at least 1, got 0"),
        ({"accumulate": 1.5}, "accumulate must be a whole number of batches, at least 1, got 1.5"),
        ({"accumulate": True}, "accumulate must be a whole number of batches, at least 1, got True"),
        ({"clip_norm": 0}, "clip_norm"),
        ({"monitor": "clean_loss"}, "monitor='clean_loss' is for a scheduler, and there is none: give scheduler="),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ReweightedModule(network(), LOSS, SGD, **options)


def test_an_optimizer_has_to_come_from_somewhere(tmp_path):
    with pytest.raises(ValueError, match="give an optimizer"):
        trainer(tmp_path).fit(ReweightedModule(network(), LOSS), loaders())


def named(given, image="image", label="label", **more):
    """The examples of two loaders as dictionaries; those of the first with their ids."""
    rows = {}
    for name, loader in given.items():
        parts = loader.dataset.tensors
        names = (image, label, *more.values())[: len(parts)]
        rows[name] = DataLoader(
            [dict(zip(names, row, strict=True)) for row in zip(*parts, strict=True)], loader.batch_size
        )
    return rows


@pytest.fixture(scope="module")
def expected():
    model = network()
    by_hand(model, SGD(model.parameters()), *pairs(loaders()))
    return model


class Named(nn.Module):
    """Takes its input by name, and a second one."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, image, shift):
        return self.net(image + shift)


def test_batches_may_be_dictionaries(tmp_path, expected):
    module = ReweightedModule(network(), LOSS, SGD, labels_key="label", inputs_key="image", ids_key="number")
    trainer(tmp_path).fit(module, named(loaders(), ids="number"))
    assert largest_difference(module.model, expected) == 0
    assert module.reweighter.last.ids.tolist() == list(range(350, 400))


@pytest.mark.parametrize("inputs_key", [None, ["image", "shift"]])
def test_what_is_left_of_a_dictionary_are_arguments_of_the_model_by_name(tmp_path, expected, inputs_key):
    given = named(loaders(), ids="number")
    for loader in given.values():
        for row in loader.dataset:
            row["shift"] = torch.zeros(2, dtype=torch.float64)
            row |= {} if inputs_key is None else {"file": torch.zeros(1)}
    module = ReweightedModule(Named(), LOSS, SGD, labels_key="label", inputs_key=inputs_key, ids_key="number")
    trainer(tmp_path).fit(module, given)
    assert largest_difference(module.model.net, expected) == 0


def test_several_labels_of_a_dictionary_are_a_tuple(tmp_path, expected):
    def first(outputs, labels):
        assert torch.equal(labels[0], labels[1] - 5)
        return LOSS(outputs, labels[0])

    given = named(loaders(), ids="number")
    for loader in given.values():
        for row in loader.dataset:
            row["other"] = row["label"] + 5
    keys = {"labels_key": ["label", "other"], "inputs_key": "image"}
    module = ReweightedModule(network(), first, SGD, **keys)
    trainer(tmp_path).fit(module, given)
    assert largest_difference(module.model, expected) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            "a training batch is a dictionary of image, label, number: say which .* are the labels by .*labels_key=",
        ),
        ({"labels_key": "target"}, "a training batch has no target: it has image, label, number"),
        ({"labels_key": "label", "ids_key": "row"}, "a training batch has no row"),
        ({"labels_key": "label", "inputs_key": ["image", "mask"]}, "a training batch has no mask"),
    ],
)
def test_dictionaries_whose_parts_are_not_known_are_refused(tmp_path, options, message):
    module = ReweightedModule(network(), LOSS, SGD, **options)
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path).fit(module, named(loaders(), ids="number"))
    assert largest_difference(module.model, network()) == 0


def test_a_clean_batch_needs_the_same_keys_but_no_ids(tmp_path):
    given = named(loaders(), ids="number")["train"], named(loaders(), label="truth", ids="number")["clean"]
    module = ReweightedModule(network(), LOSS, SGD, labels_key="label", inputs_key="image", ids_key="number")
    with pytest.raises(ValueError, match="a clean batch has no label: it has image, truth"):
        trainer(tmp_path).fit(module, dict(zip(("train", "clean"), given, strict=True)))


@pytest.mark.parametrize("options", [{"inputs_key": "image"}, {"ids_key": "number"}])
def test_other_keys_alone_are_refused(options):
    with pytest.raises(ValueError, match="give labels_key= too"):
        ReweightedModule(network(), LOSS, SGD, **options)


def test_keys_for_batches_that_are_no_dictionaries_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="labels_key='label' is for batches that are dictionaries, and a training batch"
    ):
        trainer(tmp_path).fit(ReweightedModule(network(), LOSS, SGD, labels_key="label"), loaders())


Pair = namedtuple("Pair", ["points", "classes"])


def test_batches_may_be_named_tuples(tmp_path, expected):
    given = {
        name: DataLoader([Pair(*row[:2]) for row in loader.dataset], loader.batch_size)
        for name, loader in loaders().items()
    }
    module = ReweightedModule(network(), LOSS, SGD)
    trainer(tmp_path).fit(module, given)
    assert largest_difference(module.model, expected) == 0


@pytest.mark.parametrize("parts", [1, 4])
def test_a_batch_of_other_parts_is_refused(tmp_path, parts):
    given = {name: DataLoader([(row * 2)[:parts] for row in loader.dataset], 5) for name, loader in loaders().items()}
    module = ReweightedModule(network(), LOSS, SGD)
    with pytest.raises(
        ValueError, match=r"a training batch must be \(inputs, labels\) or \(inputs, labels, ids\), got"
    ):
        trainer(tmp_path).fit(module, given)
    assert largest_difference(module.model, network()) == 0


class Stream(IterableDataset):
    """The examples of a data set in their order, without a length; perhaps without an end."""

    def __init__(self, data, endless=False):
        self.data, self.endless = data, endless

    def __iter__(self):
        rows = (self.data[i] for i in range(len(self.data)))
        return cycle(rows) if self.endless else rows


@pytest.mark.parametrize("which", [("train",), ("clean",), ("train", "clean")])
@pytest.mark.filterwarnings("ignore:Trainer.*IterableDataset")
def test_loaders_need_no_length(tmp_path, expected, which):
    given = loaders()
    given |= {name: DataLoader(Stream(given[name].dataset), given[name].batch_size) for name in which}
    module = ReweightedModule(network(), LOSS, SGD)
    trainer(tmp_path).fit(module, given)
    assert module.reweighter.steps == 24
    assert largest_difference(module.model, expected) == 0


def test_the_last_update_of_a_stream_may_have_fewer_batches(tmp_path):
    models = []
    for stream in (False, True):
        given = loaders()
        if stream:
            given |= {name: DataLoader(Stream(loader.dataset), loader.batch_size) for name, loader in given.items()}
        module = ReweightedModule(network(), LOSS, SGD, accumulate=5)
        trainer(tmp_path).fit(module, given)
        assert module.trainer.global_step == 6
        models.append(module.model)
    assert largest_difference(*models) == 0


def test_a_clean_loader_without_an_end_needs_the_mode_of_the_shorter_one(tmp_path, expected):
    given = loaders()
    # each epoch has a clean stream of its own, from its beginning
    given["clean"] = DataLoader(Stream(given["clean"].dataset, endless=True), 5)
    module = ReweightedModule(network(), LOSS, SGD)
    trainer(tmp_path).fit(module, CombinedLoader(given, "min_size"))
    assert module.reweighter.steps == 24
    assert largest_difference(module.model, expected) == 0


def test_a_clean_loader_that_runs_out_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"the clean loader has run out before the other one: .*max_size_cycle"):
        trainer(tmp_path).fit(ReweightedModule(network(), LOSS, SGD), CombinedLoader(loaders(), "max_size"))


@pytest.mark.parametrize("what", ["module", "model", "model in place"])
def test_a_compiled_module_trains_as_it_was_written(tmp_path, expected, what):
    module = ReweightedModule(network(), LOSS, SGD)
    given = module
    if what == "module":
        given = torch.compile(module, backend="eager")
    elif what == "model":
        given = module = ReweightedModule(torch.compile(network(), backend="eager"), LOSS, SGD)
    else:
        module.model.compile(backend="eager")
    trainer(tmp_path).fit(given, loaders())
    assert module.reweighter.steps == 24
    assert largest_difference(module.model, expected) == 0


def test_automatic_optimization_is_refused_before_a_step(tmp_path):
    module = ReweightedModule(network(), LOSS, SGD)
    module.automatic_optimization = True
    with pytest.raises(ValueError, match="leave automatic_optimization as it is, and give accumulate="):
        trainer(tmp_path).fit(module, loaders())
    assert module.reweighter.steps == 0


def test_the_check_can_be_chosen():
    assert ReweightedModule(network(), LOSS, SGD).reweighter.check == "every"
    assert ReweightedModule(network(), LOSS, SGD, check="first").reweighter.check == "first"
    with pytest.raises(ValueError, match="check must be one of 'every', 'first'"):
        ReweightedModule(network(), LOSS, SGD, check="never")
