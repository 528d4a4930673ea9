"""A language model that is fine-tuned on a mixture of sources, of which a quarter is worth having.

    python -m benchmarks.language --trials 5

A small GPT-2 learns a general corpus first, once for all trials. A trial draws a dialect, and texts of it and of three
other sources; which is which no method but the oracle knows. A few sentences of the dialect are the target examples,
and as many others decide on the number of steps. Learning rates, and the share that a selection keeps, are decided by
these sentences on a trial of its own, number -1, in the same way for all methods. Lines that are on record are not run
again.
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from benchmarks.audits import read
from benchmarks.made_language import CODES, ENDINGS, LONGEST, OTHERS, START, STOP, WORDS, general, target_dialect
from benchmarks.step_cost import machine
from l2rw_core.experiments import results_root
from l2rw_core.loops.hf import IGNORED, ReweightedTrainer, next_token_losses
from l2rw_core.scoring import alignment

TUNING = -1
"""The trial that decides on learning rates and shares."""
SOURCES = 4
METHODS = ("uniform", "target", "selection", "l2rw", "oracle")
AFTERWARDS = ("uniform", "selection", "l2rw", "oracle")
"""Methods that are also followed by the target examples alone."""
SAME_RATE = "l2rw, same rate"
"""L2RW at the rate that was decided for uniform mixing, where that is another one."""


@dataclass(frozen=True)
class Scale:
    """Sizes of the study."""

    corpus: int = 20_000
    corpus_steps: int = 1500
    pool: int = 2000
    """Sentences of the mixture; each of its four sources has as many."""
    target: int = 32
    """Target examples, and as many that decide on the number of steps."""
    test: int = 300
    batch: int = 32
    looked_at: tuple[int, ...] = (0, 8, 16, 32, 64, 128, 256)
    """Numbers of steps that can be decided on."""
    target_steps: int = 64
    """The most steps on the target examples alone, each of which is in every batch by default."""
    rates: tuple[float, ...] = (5e-4, 2e-3, 8e-3)
    shares: tuple[float, ...] = (0.125, 0.25, 0.5)
    width: int = 64


@dataclass
class Arguments:
    """Fine-tune on mixtures, and append what comes out to a file."""

    settings: list[str] = field(default_factory=lambda: list(OTHERS))
    trials: int = 5
    scale: Scale = field(default_factory=Scale)
    results: Path = field(default_factory=lambda: results_root() / "benchmarks" / "language.jsonl")


class Texts(NamedTuple):
    """Sentences as numbers."""

    words: Tensor
    """(n, LONGEST) codes."""
    labels: Tensor
    """The same, with `IGNORED` after a sentence has ended."""

    def of(self, rows: Tensor) -> Texts:
        return Texts(self.words[rows], self.labels[rows])

    def rows(self, numbered: bool = False) -> list[dict[str, Any]]:
        """As a trainer takes them; numbered ones have an id."""
        each = enumerate(zip(self.words, self.labels, strict=True))
        return [{"input_ids": w, "labels": y} | ({"ids": k} if numbered else {}) for k, (w, y) in each]


class Sample(NamedTuple):
    """The texts of one trial."""

    pool: Texts
    source: Tensor
    """(pool,) 0 for the target's own dialect, 1 to 3 for the others."""
    target: Texts
    held_out: Texts
    test: Texts
    floor: float
    """Nats a word of the test sentences under the dialect itself."""


class Choice(NamedTuple):
    """What is decided for a method before the trials."""

    rate: float
    share: float | None = None


class Tuned(NamedTuple):
    """A model as it was where the held-out loss was least, and what was measured on the way."""

    model: GPT2LMHeadModel
    run: dict[str, Any]


def main(arguments: Arguments) -> None:
    """Run what is not on record."""
    torch.set_num_threads(1)
    for line in run_missing(arguments):
        print(line["case"], {run["method"]: summary(run) for run in line["runs"]}, flush=True)


def run_missing(arguments: Arguments) -> Iterator[dict[str, Any]]:
    """Run the trials that are not on record, append each to the file, and yield it."""
    for trial in range(TUNING, arguments.trials):
        for setting in arguments.settings:
            lines = {(line["setting"], line["trial"]): line for line in read(arguments.results)}
            if (setting, trial) in lines:
                continue
            head = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine("cpu")}
            head |= {"case": f"{setting} {trial}", "setting": setting, "trial": trial, "scale": asdict(arguments.scale)}
            options = grid(arguments.scale) if trial == TUNING else decide(lines[setting, TUNING]["runs"])
            line = head | compare(setting, trial, arguments.scale, options)
            arguments.results.parent.mkdir(parents=True, exist_ok=True)
            with arguments.results.open("a") as file:
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
            yield line


def grid(scale: Scale) -> dict[str, list[Choice]]:
    """All that can be decided on, for each method."""
    plain = [Choice(rate) for rate in scale.rates]
    shares = [Choice(rate, share) for rate in scale.rates for share in scale.shares]
    return {method: shares if method == "selection" else plain for method in METHODS}


def decide(runs: Iterable[dict[str, Any]]) -> dict[str, list[Choice]]:
    """For each method what had the least held-out loss at any number of steps."""
    best: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run["method"] not in best or min(run["held_out"]) < min(best[run["method"]]["held_out"]):
            best[run["method"]] = run
    return {method: [Choice(run["rate"], run["share"])] for method, run in best.items()}


def compare(setting: str, trial: int, scale: Scale, options: dict[str, list[Choice]]) -> dict[str, Any]:
    """Every method with each of its options; in a trial that does not tune, also what target examples do afterwards."""
    sample, base, runs = draw(setting, trial, scale), pretrained(scale), []
    start = time.process_time()
    u = scores(base, sample)
    seconds = time.process_time() - start
    for method, choices in options.items():
        for choice in choices:
            tuned = fine_tune(method, choice, base, sample, u, scale, trial)
            runs.append(tuned.run)
            if trial != TUNING and method in AFTERWARDS:
                then = fine_tune("target", options["target"][0], tuned.model, sample, u, scale, trial)
                runs.append(then.run | {"method": f"{method}, then target"})
    same = Choice(options["uniform"][0].rate)
    if trial != TUNING and options["l2rw"] != [same]:
        runs.append(fine_tune("l2rw", same, base, sample, u, scale, trial).run | {"method": SAME_RATE})
    return {
        "sources": ["target", *OTHERS[setting]],
        "floor": round(sample.floor, 4),
        "weight_before": shares_of(u.clamp(min=0), sample.source),
        "seconds_of_selection": round(seconds, 2),
        "runs": runs,
    }


def draw(setting: str, trial: int, scale: Scale) -> Sample:
    """A dialect, and texts of it and of the other sources."""
    random = np.random.default_rng([trial - TUNING, list(OTHERS).index(setting)])
    dialect = target_dialect(random)
    sources = [dialect.sentence, *(make(dialect) for make in OTHERS[setting].values())]
    each = scale.pool // len(sources)
    pool = [source(random) for source in sources for _ in range(each)]
    target, held_out, test = (
        [dialect.sentence(random) for _ in range(n)] for n in (scale.target, scale.target, scale.test)
    )
    floor = np.mean([dialect.surprise(sentence) / (len(sentence) - 1) for sentence in test])
    source = torch.arange(len(sources)).repeat_interleave(each)
    return Sample(encode(pool), source, encode(target), encode(held_out), encode(test), float(floor))


def encode(sentences: list[list[str]]) -> Texts:
    """Sentences as numbers, filled up to the same length."""
    words = torch.zeros(len(sentences), LONGEST, dtype=torch.long)
    labels = torch.full_like(words, IGNORED)
    for row, sentence in enumerate(sentences):
        words[row, : len(sentence)] = labels[row, : len(sentence)] = torch.tensor([CODES[word] for word in sentence])
    return Texts(words, labels)


@cache
def pretrained(scale: Scale) -> GPT2LMHeadModel:
    """A GPT-2 of one layer that has learned the general corpus."""
    random = np.random.default_rng(0)
    corpus = encode([general(random) for _ in range(scale.corpus)])
    torch.manual_seed(0)
    ends = {"bos_token_id": CODES[START], "eos_token_id": CODES[STOP]}
    still = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0)
    size = {"vocab_size": len(WORDS), "n_positions": LONGEST, "n_embd": scale.width, "n_layer": 1, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**size, **ends, **still))
    trainer = Trainer(
        model, _arguments(scale.corpus_steps, 2e-3, 2 * scale.batch, 0), train_dataset=corpus.rows(), **_SAME_LOSS
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return model


def _arguments(steps: int, rate: float, batch: int, seed: int, **more: Any) -> TrainingArguments:
    """AdamW at a constant rate, as it comes with the trainer."""
    quiet = {"report_to": [], "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    return TrainingArguments(
        output_dir=str(Path(tempfile.gettempdir()) / "l2rw-language"),
        max_steps=steps,
        learning_rate=rate,
        lr_scheduler_type="constant",
        per_device_train_batch_size=batch,
        seed=seed,
        **quiet,
        **more,
    )


def _mean_loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    return next_token_losses(outputs, labels).mean()


_SAME_LOSS = {"compute_loss_func": _mean_loss}
"""Of plain training: a sentence counts as much as another, as it does for the weights."""


def scores(model: GPT2LMHeadModel, sample: Sample) -> Tensor:
    """(pool,) inner product of each gradient with that of all target examples, at the model before fine-tuning."""
    target = ({"input_ids": sample.target.words}, sample.target.labels)
    batches = zip(sample.pool.words.split(250), sample.pool.labels.split(250), strict=True)
    return torch.cat(
        [alignment(model, next_token_losses, ({"input_ids": w}, y), target)[1].detach() for w, y in batches]
    )


def fine_tune(
    method: str, choice: Choice, base: GPT2LMHeadModel, sample: Sample, u: Tensor, scale: Scale, trial: int
) -> Tuned:
    """Train a copy of the model by one of `METHODS`."""
    model, rows = copy.deepcopy(base), rows_of(method, choice, sample, u)
    curve = Curve(model, sample, scale.looked_at)
    start, steps = time.process_time(), scale.target_steps if method == "target" else scale.looked_at[-1]
    if method == "l2rw":
        arguments = _arguments(steps, choice.rate, scale.batch, trial + 1, remove_unused_columns=False)
        trainer: Trainer = ReweightedTrainer(
            model,
            arguments,
            train_dataset=sample.pool.rows(numbered=True),
            clean_dataset=sample.target.rows(numbered=True),
            id_column="ids",
            callbacks=[curve],
        )
        curve.follow(trainer)
    else:
        arguments = _arguments(steps, choice.rate, scale.batch, trial + 1)
        texts = sample.target if method == "target" else sample.pool.of(rows)
        trainer = Trainer(model, arguments, train_dataset=texts.rows(), callbacks=[curve], **_SAME_LOSS)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    run = {"method": method, **choice._asdict(), **curve.values, "seconds": round(time.process_time() - start, 1)}
    if method != "target":
        weights = curve.weights if method == "l2rw" else torch.ones(len(rows))
        run["weight"] = shares_of(weights, sample.source[rows])
    return Tuned(curve.best, run)


def rows_of(method: str, choice: Choice, sample: Sample, u: Tensor) -> Tensor:
    """Which sentences of the pool a method trains on."""
    if method == "oracle":
        return (sample.source == 0).nonzero().flatten()
    if method == "selection" and choice.share is not None:
        return u.topk(round(choice.share * len(u))).indices
    return torch.arange(len(u))


class Curve(TrainerCallback):
    """Losses of held-out and test sentences on the way, and a copy of the model where the held-out loss is least."""

    def __init__(self, model: GPT2LMHeadModel, sample: Sample, looked_at: tuple[int, ...]) -> None:
        self.model, self.sample, self.looked_at = model, sample, looked_at
        self.best = model
        self.values: dict[str, list[Any]] = {"steps": [], "held_out": [], "test": [], "endings": []}
        """Losses in nats a word, those of test sentences above the dialect's own; shares of endings that are right."""
        self.weights = torch.zeros(len(sample.source))
        self._trainer: ReweightedTrainer | None = None

    def follow(self, trainer: ReweightedTrainer) -> None:
        """Add up the weights of the pool's sentences too."""
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._look(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._trainer is not None:
            last = self._trainer.reweighter.last
            self.weights[last.ids] += last.weights
        if state.global_step in self.looked_at:
            self._look(state.global_step)

    def _look(self, step: int) -> None:
        held_out, _ = quality(self.model, self.sample.held_out)
        test, endings = quality(self.model, self.sample.test)
        if held_out < min(self.values["held_out"], default=np.inf):
            self.best = copy.deepcopy(self.model)
        for name, value in zip(self.values, (step, held_out, test - self.sample.floor, endings), strict=True):
            self.values[name].append(round(value, 4))


def quality(model: GPT2LMHeadModel, texts: Texts) -> tuple[float, float]:
    """Mean loss of a sentence in nats a word, and the share of endings that come out most probable."""
    model.eval()
    with torch.no_grad():
        outputs = model(input_ids=texts.words)
    model.train()
    wanted = texts.labels[:, 1:]
    is_ending = torch.isin(wanted, torch.tensor([CODES[ending] for ending in ENDINGS]))
    right = outputs.logits[:, :-1].argmax(-1) == wanted
    return float(next_token_losses(outputs, texts.labels).mean()), float(right[is_ending].double().mean())


def shares_of(weights: Tensor, source: Tensor) -> list[float]:
    """Share of the total that each source has."""
    totals = torch.bincount(source, weights, minlength=SOURCES)
    return [round(share, 4) for share in (totals / totals.sum()).tolist()]


def summary(run: dict[str, Any]) -> str:
    """Steps, test loss and endings where the held-out loss was least."""
    at = int(np.argmin(run["held_out"]))
    return f"{run['rate']:.0e} {run['steps'][at]} {run['test'][at]:.3f} {run['endings'][at]:.1%} {run['seconds']}s"


if __name__ == "__main__":
    main(tyro.cli(Arguments))
