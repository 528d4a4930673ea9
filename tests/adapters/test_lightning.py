"""Lightning's trainer with reweighting trains what the loop written by hand trains."""

from functools import partial
from itertools import cycle, islice
from types import SimpleNamespace

import pytest
import torch
from problems import LOSS, accuracy, background_flips, by_hand, largest_difference, network
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning", reason="Lightning is not installed: the extra 'lightning' brings it")

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.plugins.precision import MixedPrecision

from l2rw_core import Reweighter
from l2rw_core.adapters.lightning import ReweightedModule

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


class SecondBatchesOpposed(nn.Module):
    """A loss of which every second batch of training opposes the clean gradient, if both are the same batch."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, outputs, targets):
        self.calls += 1
        losses = LOSS(outputs, targets)
        return losses if self.calls % 4 else 0 * losses - losses.mean()


def test_a_gradient_scaler_changes_neither_clipping_nor_a_batch_without_weight(tmp_path):
    given = loaders() | {"clean": DataLoader(TensorDataset(*background_flips()[0]), 50)}
    module = ReweightedModule(network(), SecondBatchesOpposed(), SGD, clip_norm=0.05)
    scaled = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    trainer(tmp_path, plugins=[scaled]).fit(module, given)
    assert not module.reweighter.last.weights.any()
    expected = network()
    by_hand(expected, SGD(expected.parameters()), *pairs(given), SecondBatchesOpposed(), clip=0.05)
    assert largest_difference(module.model, expected) < 1e-10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: loaders()["train"], "two loaders by name"),
        (lambda: {"train": loaders()["train"]}, "got a dict with train"),
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


@pytest.mark.parametrize(("options", "message"), [({"accumulate": 0}, "accumulate"), ({"clip_norm": 0}, "clip_norm")])
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ReweightedModule(network(), LOSS, SGD, **options)


def test_an_optimizer_has_to_come_from_somewhere(tmp_path):
    with pytest.raises(ValueError, match="give an optimizer"):
        trainer(tmp_path).fit(ReweightedModule(network(), LOSS), loaders())
