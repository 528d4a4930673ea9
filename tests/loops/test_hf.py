"""Hugging Face's Trainer with reweighting trains what the loop written by hand trains."""

import warnings

import pytest
import torch
from problems import largest_difference
from torch import nn
from torch.utils.data import Dataset, IterableDataset

pytest.importorskip("transformers", reason="transformers is not installed: the extra 'transformers' brings it")
pytest.importorskip("accelerate", reason="accelerate is not installed: the extra 'transformers' brings it")

from transformers import (
    BartConfig,
    BartForCausalLM,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    CTRLConfig,
    CTRLLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    XLNetConfig,
    XLNetForQuestionAnswering,
    XLNetLMHeadModel,
    get_linear_schedule_with_warmup,
)

from l2rw_core import Reweighter
from l2rw_core.datasets import BatchStream
from l2rw_core.loops.hf import ReweightedTrainer, label_losses, next_token_losses, span_losses

SIZE = {"vocab_size": 12, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
SIZE["initializer_range"] = 0.2


class Sentences(Dataset):
    """Words below 6 speak for class 0, the others for class 1; seven in ten labels of class 0 say 1, if noisy."""

    def __init__(self, n, noisy, seed):
        generator = torch.Generator().manual_seed(seed)
        self.truth = torch.arange(n) % 2
        own = torch.randint(6, (n, 7), generator=generator) + 6 * self.truth[:, None]
        self.words = torch.where(
            torch.rand(n, 7, generator=generator) < 0.8, own, torch.randint(12, (n, 7), generator=generator)
        )
        flipped = torch.rand(n, generator=generator) < 0.7
        self.labels = torch.where(flipped, 1, self.truth) if noisy else self.truth

    def __len__(self):
        return len(self.words)

    def __getitem__(self, i):
        return {
            "input_ids": self.words[i],
            "attention_mask": torch.ones(7, dtype=torch.long),
            "labels": self.labels[i],
            "number": torch.tensor(i),
        }


TRAIN, CLEAN = Sentences(96, noisy=True, seed=0), Sentences(20, noisy=False, seed=1)


def bert(dropout=0.0, seed=0, kind=BertForSequenceClassification):
    torch.manual_seed(seed)
    config = BertConfig(**SIZE, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    return kind(config).double()


def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZE, pad_token_id=0, bos_token_id=1, eos_token_id=2)).double()


GPT = {"vocab_size": 12, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 8, "initializer_range": 0.2}
GPT |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


class OwnName(GPT2LMHeadModel):
    pass


HEADS = {
    "GPT-2": lambda: GPT2LMHeadModel(GPT2Config(**GPT, bos_token_id=1, eos_token_id=2)),
    "GPT-2 under a name of one's own": lambda: OwnName(GPT2Config(**GPT, bos_token_id=1, eos_token_id=2)),
    "GPT": lambda: OpenAIGPTLMHeadModel(OpenAIGPTConfig(**GPT)),
    "CTRL": lambda: CTRLLMHeadModel(CTRLConfig(**GPT, dff=24)),
    "BERT as a decoder": lambda: BertLMHeadModel(BertConfig(**SIZE, is_decoder=True)),
    "Llama": llama,
}


def head(name):
    torch.manual_seed(0)
    return HEADS[name]().double().eval()


def arguments(tmp_path, **options):
    usual = {"per_device_train_batch_size": 16, "num_train_epochs": 2, "learning_rate": 1e-2, "use_cpu": True}
    quiet = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no"}
    kept = {"remove_unused_columns": False, "dataloader_pin_memory": False}
    return TrainingArguments(str(tmp_path), **usual | quiet | kept | options)


def trainer(model, tmp_path, given=None, **options):
    own = {"train_dataset": TRAIN, "clean_dataset": CLEAN, "clean_batch_size": 8, "id_column": "number"}
    return ReweightedTrainer(model, given or arguments(tmp_path), **own | options)


class Batches(TrainerCallback):
    """Which examples each batch had."""

    def __init__(self):
        self.trainer, self.ids = None, []

    def on_step_end(self, args, state, control, **_):
        self.ids.append(self.trainer.reweighter.last.ids)

    on_substep_end = on_step_end


def rows(data, chosen):
    words = data.words[chosen]
    return {"input_ids": words, "attention_mask": torch.ones_like(words)}, data.labels[chosen]


def test_parameters_are_those_of_the_loop_by_hand_with_accumulation_clipping_schedule_and_warm_up(tmp_path):
    model, expected = bert(), bert()
    given = arguments(tmp_path, gradient_accumulation_steps=2, max_grad_norm=0.1, warmup_steps=2)
    seen = Batches()
    run = trainer(model, tmp_path, given, warmup=3, callbacks=[seen])
    seen.trainer = run
    run.train()

    optimizer = torch.optim.AdamW(expected.parameters(), lr=1e-2, weight_decay=0)
    schedule = get_linear_schedule_with_warmup(optimizer, 2, 6)
    reweighter = Reweighter(expected, None, label_losses, warmup=3)
    stream = BatchStream(len(CLEAN), 8, given.seed)
    assert [len(ids) for ids in seen.ids] == [16] * 12
    for k, ids in enumerate(seen.ids):
        (reweighter.loss(rows(TRAIN, ids), rows(CLEAN, stream.indices(k))) / 2).backward()
        if k % 2:
            torch.nn.utils.clip_grad_norm_(expected.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    assert largest_difference(model, expected) < 1e-10
    assert largest_difference(model, bert()) > 1e-3


def right(model):
    model.eval()
    with torch.no_grad():
        return float((model(TRAIN.words).logits.argmax(1) == TRAIN.truth).double().mean())


def test_it_beats_plain_training_where_the_clean_set_helps(tmp_path):
    plain, model = bert(), bert()
    given = arguments(tmp_path, num_train_epochs=8)
    Trainer(plain, arguments(tmp_path, num_train_epochs=8, remove_unused_columns=True), train_dataset=TRAIN).train()
    trainer(model, tmp_path, given).train()
    assert right(model) > right(plain) + 0.2


def test_a_run_that_goes_on_from_a_checkpoint_ends_where_it_would_have(tmp_path):
    saved = arguments(tmp_path, save_strategy="steps", save_steps=2, gradient_accumulation_steps=4)
    whole = bert(dropout=0.2)
    run = trainer(whole, tmp_path, saved, warmup=6)
    run.train()
    resumed = bert(dropout=0.2, seed=1)
    again = trainer(resumed, tmp_path, saved, warmup=6)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert run.reweighter.steps == again.reweighter.steps == 12
    assert largest_difference(resumed, whole) == 0


class Stream(IterableDataset):
    """The sentences in their order, without a length."""

    def __iter__(self):
        return (TRAIN[i] for i in range(len(TRAIN)))


@pytest.mark.parametrize("parts", [1, 2])
def test_a_stream_goes_on_from_a_checkpoint_where_it_would_have(tmp_path, parts):
    options = {"save_strategy": "steps", "save_steps": 2, "max_steps": 3, "gradient_accumulation_steps": parts}
    saved = arguments(tmp_path, **options)
    whole = bert(dropout=0.2)
    run = trainer(whole, tmp_path, saved, warmup=2 * parts, train_dataset=Stream())
    run.train()
    resumed = bert(dropout=0.2, seed=1)
    again = trainer(resumed, tmp_path, saved, warmup=2 * parts, train_dataset=Stream())
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert run.reweighter.steps == again.reweighter.steps == 3 * parts
    assert again.reweighter.last.ids.tolist() == list(range(48 * parts - 16, 48 * parts))
    assert largest_difference(resumed, whole) == 0
    assert largest_difference(whole, bert()) > 1e-3


def test_a_stream_trains_what_a_data_set_in_that_order_trains(tmp_path):
    models = bert(), bert()
    for model, data in zip(models, (TRAIN, Stream()), strict=True):
        given = arguments(tmp_path, max_steps=6, train_sampling_strategy="sequential")
        trainer(model, tmp_path, given, train_dataset=data).train()
    assert largest_difference(*models) == 0


def test_a_clean_set_that_is_a_stream_is_refused(tmp_path):
    with pytest.raises(TypeError, match="Stream has no length or no numbered rows: read the clean set into a list"):
        trainer(bert(), tmp_path, clean_dataset=Stream())


@pytest.mark.parametrize(
    "options",
    [{"train_sampling_strategy": "group_by_length"}, {"dataloader_drop_last": True, "per_device_train_batch_size": 36}],
)
def test_other_ways_to_batch_go_on_from_a_checkpoint_too(tmp_path, options):
    saved = arguments(tmp_path, save_strategy="steps", save_steps=1, **options)
    whole = bert()
    run = trainer(whole, tmp_path, saved)
    run.train()
    resumed = bert(seed=1)
    again = trainer(resumed, tmp_path, saved)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert run.reweighter.steps == again.reweighter.steps == (4 if "dataloader_drop_last" in options else 12)
    assert len(again.reweighter.last.losses) == saved.per_device_train_batch_size
    assert largest_difference(resumed, whole) == 0


def test_a_model_is_trained_in_bfloat16(tmp_path):
    model = bert().float()
    run = trainer(model, tmp_path, arguments(tmp_path, bf16=True, num_train_epochs=1))
    before = [p.detach().clone() for p in model.parameters()]
    run.train()
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
    assert any(not torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))
    assert run.reweighter.engine == "forward"


def test_a_batch_without_any_weight_moves_nothing(tmp_path):
    """The clean set is the training set, and the loss of a whole batch has its sign turned; clean batches lack one."""

    def opposed(outputs, labels):
        losses = label_losses(outputs, labels)
        return losses if len(labels) < 96 else 0 * losses - losses.mean()

    model = bert()
    whole = arguments(tmp_path, per_device_train_batch_size=96, num_train_epochs=2)
    run = trainer(model, tmp_path, whole, clean_dataset=TRAIN, clean_batch_size=95, loss_fn=opposed)
    run.train()
    assert not run.reweighter.last.weights.any()
    assert largest_difference(model, bert()) == 0


def test_losses_of_labels_and_tokens_are_those_of_the_model_on_one_example():
    words = torch.randint(12, (5, 7), generator=torch.Generator().manual_seed(0))
    tokens = words.where(torch.rand(5, 7, generator=torch.Generator().manual_seed(1)) < 0.5, -100)
    cases = (
        (bert(), TRAIN.labels[:5], label_losses),
        (bert(kind=BertForMaskedLM), tokens, label_losses),
        (llama(), tokens, next_token_losses),
    )
    for model, labels, losses in cases:
        found = losses(model(words), labels)
        for i in range(5):
            own = model(words[[i]], labels=labels[[i]]).loss
            torch.testing.assert_close(found[i].detach().to(own.dtype), own.detach(), rtol=1e-6, atol=1e-7)


def test_a_sentence_without_a_counted_token_has_no_loss():
    model = bert(kind=BertForMaskedLM)
    labels = torch.full((2, 7), -100)
    labels[1, 3] = 5
    losses = label_losses(model(TRAIN.words[:2]), labels).detach()
    assert losses[0] == 0
    assert losses[1] > 0


def test_the_loss_goes_with_the_model(tmp_path):
    assert trainer(llama(), tmp_path).reweighter.loss_fn is next_token_losses
    assert trainer(bert(kind=BertForMaskedLM), tmp_path).reweighter.loss_fn is label_losses


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"clean_dataset": []}, {}, "clean dataset is empty"),
        ({"clean_batch_size": 0}, {}, "batch_size must be at least 1"),
        ({}, {"remove_unused_columns": True}, "remove_unused_columns=False"),
        ({}, {"label_smoothing_factor": 0.1}, "one loss per example"),
        ({"compute_loss_func": lambda *a, **k: None}, {}, "one loss per example"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(tmp_path, options, given, message):
    with pytest.raises(ValueError, match=message):
        trainer(bert(), tmp_path, arguments(tmp_path, **given), **options)


class Louder(ReweightedTrainer):
    def compute_loss(self, *args, **kwargs):
        return 1000 * super().compute_loss(*args, **kwargs)


class LouderElsewhere(Trainer):
    def compute_loss(self, *args, **kwargs):
        return 1000 * super().compute_loss(*args, **kwargs)


class Both(ReweightedTrainer, LouderElsewhere):
    pass


@pytest.mark.parametrize(("kind", "owner"), [(Louder, "Louder"), (Both, "LouderElsewhere")])
def test_a_compute_loss_of_ones_own_is_refused(tmp_path, kind, owner):
    with pytest.raises(ValueError, match=f"^{owner} has a compute_loss of its own, .* give loss_fn="):
        kind(bert(), arguments(tmp_path), train_dataset=TRAIN, clean_dataset=CLEAN)


def test_a_compute_loss_that_is_put_on_a_trainer_is_refused_before_a_step(tmp_path):
    model = bert()
    run = trainer(model, tmp_path)
    run.compute_loss = lambda *args, **kwargs: 0
    with pytest.raises(ValueError, match=r"^this trainer has a compute_loss of its own"):
        run.train()
    assert largest_difference(model, bert()) == 0


def renamed(data, **names):
    return [{names.get(name, name): value for name, value in data[i].items()} for i in range(len(data))]


def test_labels_of_another_name_train_and_evaluate_alike(tmp_path):
    """BERT takes no `target`: evaluation has to take the loss function."""
    found = []
    for names in (None, ["target"]):
        data = [renamed(d, labels=names[0] if names else "labels") for d in (TRAIN, CLEAN)]
        model = bert()
        run = trainer(
            model,
            tmp_path,
            arguments(tmp_path, label_names=names, train_sampling_strategy="sequential"),
            train_dataset=data[0],
            clean_dataset=data[1],
            eval_dataset=data[1],
            compute_metrics=lambda p: {"right": float((p.predictions.argmax(1) == p.label_ids).mean())},
        )
        run.train()
        found.append((model, run.evaluate()))
    (first, expected), (second, metrics) = found
    assert largest_difference(first, second) == 0
    assert metrics["eval_right"] == expected["eval_right"] > 0.5
    assert metrics["eval_loss"] == pytest.approx(expected["eval_loss"], rel=1e-6)


def test_several_labels_go_to_the_loss_in_the_order_of_their_names(tmp_path):
    seen = []

    def second(outputs, labels):
        seen.append(labels)
        return label_losses(outputs, labels[1])

    data = [row | {"first": row["labels"] + 7} for row in renamed(TRAIN)]
    given = arguments(tmp_path, label_names=["first", "labels"])
    model, expected = bert(), bert()
    trainer(model, tmp_path, given, train_dataset=data, clean_dataset=data, loss_fn=second).train()
    trainer(
        expected, tmp_path, loss_fn=lambda outputs, labels: label_losses(outputs, labels), clean_dataset=TRAIN
    ).train()
    assert all(isinstance(labels, tuple) and torch.equal(labels[0], labels[1] + 7) for labels in seen)
    assert largest_difference(model, expected) == 0


class Linear(nn.Module):
    """Knows neither labels nor losses, and gives a tensor."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(12, 2)

    def forward(self, input_ids):
        return self.table(input_ids).mean(1)


def test_a_plain_module_trains_and_evaluates_by_the_loss_function(tmp_path):
    torch.manual_seed(0)
    model, each = Linear(), nn.CrossEntropyLoss(reduction="none")
    train, clean = ([{k: row[k] for k in ("input_ids", "labels")} for row in renamed(d)] for d in (TRAIN, CLEAN))
    run = trainer(
        model,
        tmp_path,
        train_dataset=train,
        clean_dataset=clean,
        eval_dataset=clean,
        loss_fn=each,
        id_column=None,
        compute_metrics=lambda p: {"shape": p.predictions.shape},
    )
    run.train()
    metrics = run.evaluate()
    with torch.no_grad():
        expected = each(model(CLEAN.words), CLEAN.labels).mean()
    assert metrics["eval_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert tuple(metrics["eval_shape"]) == (20, 2)


def questions(n):
    generator = torch.Generator().manual_seed(n)
    starts = torch.randint(4, (n,), generator=generator)
    words = torch.randint(12, (n, 7), generator=generator)
    places = ({"start_positions": s, "end_positions": s + 2} for s in starts)
    return [{"input_ids": w} | both for w, both in zip(words, places, strict=True)]


def test_question_answering_is_trained_by_both_ends_of_the_answer(tmp_path):
    """One update, against the loop by hand with the model's own loss, example by example."""
    train, clean = questions(6), questions(4)
    model, expected = bert(kind=BertForQuestionAnswering), bert(kind=BertForQuestionAnswering)
    given = arguments(tmp_path, max_steps=1, optim="sgd", max_grad_norm=0)
    run = trainer(model, tmp_path, given, train_dataset=train, clean_dataset=clean, id_column=None, eval_dataset=clean)
    assert run.reweighter.loss_fn is span_losses
    run.train()

    def own(rows):
        return torch.stack([expected(**{k: v[None] for k, v in row.items()}).loss for row in rows])

    parameters = [p for p in expected.parameters() if p.requires_grad]
    expected.train()
    v = torch.autograd.grad(own(clean).mean(), parameters)
    rows = [torch.autograd.grad(f, parameters, retain_graph=True) for f in own(train)]
    u = torch.stack([sum((g * c).sum() for g, c in zip(row, v, strict=True)) for row in rows]).clamp(min=0)
    weights = u / u.sum()
    torch.testing.assert_close(run.reweighter.last.weights.sort().values, weights.sort().values, rtol=1e-6, atol=1e-8)
    with torch.no_grad():
        for p, *g in zip(parameters, *rows, strict=True):
            p -= 1e-2 * sum(w * part for w, part in zip(weights, g, strict=True))
    assert largest_difference(model, expected) < 1e-7
    assert run.evaluate()["eval_loss"] == pytest.approx(float(own(clean).mean().detach()), rel=1e-5)


def test_an_answer_behind_the_end_counts_nothing():
    model = bert(kind=BertForQuestionAnswering)
    starts, ends = torch.tensor([1, 9, 9]), torch.tensor([3, 4, 9])
    outputs = model(TRAIN.words[:3])
    losses = span_losses(outputs, (starts, ends)).detach()
    assert losses[0] > losses[2] == 0
    own = nn.functional.cross_entropy(outputs.end_logits[1:2], ends[1:2]).detach()
    torch.testing.assert_close(losses[1], own / 2)


def test_question_answering_with_other_outputs_is_refused_by_name(tmp_path):
    torch.manual_seed(0)
    config = XLNetConfig(vocab_size=12, d_model=16, n_layer=1, n_head=2, d_inner=24)
    run = trainer(
        XLNetForQuestionAnswering(config),
        tmp_path,
        train_dataset=questions(6),
        clean_dataset=questions(4),
        id_column=None,
    )
    with pytest.raises(ValueError, match=r"give loss_fn\(outputs, \(starts, ends\)\)"):
        run.train()


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        (["labels", "number"], BertForSequenceClassification, "has labels, number, and the loss .* takes 1"),
        (["labels"], BertForQuestionAnswering, "has labels, and the loss that goes with the model takes 2"),
        ([], BertForSequenceClassification, "label_names is empty"),
    ],
)
def test_label_names_that_the_loss_does_not_take_are_refused(tmp_path, names, kind, message):
    with pytest.raises(ValueError, match=message):
        trainer(bert(kind=kind), tmp_path, arguments(tmp_path, label_names=names))


def test_a_label_that_a_batch_does_not_have_is_named(tmp_path):
    given = arguments(tmp_path, label_names=["labels", "second"])
    model = bert()
    run = trainer(model, tmp_path, given, loss_fn=lambda outputs, labels: label_losses(outputs, labels[0]))
    with pytest.raises(ValueError, match=r"a batch has no second: it has .*input_ids.*label_names=\[...\]"):
        run.train()
    assert largest_difference(model, bert()) == 0


def test_ids_are_no_input_of_an_evaluation(tmp_path):
    class Strict(Linear):
        def forward(self, input_ids, attention_mask=None):
            return super().forward(input_ids)

    run = trainer(Strict(), tmp_path, loss_fn=nn.CrossEntropyLoss(reduction="none"), eval_dataset=CLEAN)
    assert run.evaluate()["eval_loss"] > 0


def low_rank(model):
    """Adapters as those of PEFT: what was trained before is frozen, and two narrow matrices stand beside it."""

    class Adapter(nn.Module):
        def __init__(self, linear):
            super().__init__()
            self.linear = linear
            self.down = nn.Linear(linear.in_features, 2, bias=False).double()
            self.up = nn.Linear(2, linear.out_features, bias=False).double()

        def forward(self, x):
            return self.linear(x) + self.up(self.down(x))

    torch.manual_seed(0)
    model.requires_grad_(False)
    for layer in model.bert.encoder.layer:
        layer.attention.self.query = Adapter(layer.attention.self.query)
        layer.attention.self.value = Adapter(layer.attention.self.value)
    return model


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing:FutureWarning")  # the name that older versions know
def test_activations_may_be_checkpointed(tmp_path):
    models = bert(), bert()
    for model, checkpointed in zip(models, (False, True), strict=True):
        given = arguments(tmp_path, gradient_checkpointing=checkpointed)
        run = trainer(model, tmp_path, given, engine="reverse")
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            run.train()
        assert run.reweighter.engine == "reverse"
    assert largest_difference(*models) < 1e-10


def t5():
    torch.manual_seed(0)
    size = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "dropout_rate": 0.0}
    return T5ForConditionalGeneration(
        T5Config(vocab_size=12, **size, decoder_start_token_id=0, pad_token_id=0)
    ).double()


def test_a_decoder_is_given_the_labels_that_go_before(tmp_path):
    data = [{"input_ids": words, "labels": words.flip(0)[:5]} for words in TRAIN.words]
    model = t5()
    with pytest.raises(ValueError, match="give loss_fn"):
        trainer(model, tmp_path)
    given = arguments(tmp_path, max_steps=1, learning_rate=0.0, train_sampling_strategy="sequential")
    own = {"train_dataset": data, "clean_dataset": data[:20], "id_column": None}
    run = trainer(model, tmp_path, given, loss_fn=label_losses, **own)
    run.train()
    with torch.no_grad():
        losses = [model(input_ids=row["input_ids"][None], labels=row["labels"][None]).loss for row in data[:16]]
    expected = torch.stack(losses).to(run.reweighter.last.losses.dtype)
    torch.testing.assert_close(run.reweighter.last.losses, expected, rtol=1e-5, atol=1e-6)


def test_adapters_of_low_rank_are_trained_alone(tmp_path):
    model, before = low_rank(bert()), low_rank(bert())
    trainer(model, tmp_path).train()
    moved = {
        n for (n, p), q in zip(model.named_parameters(), before.parameters(), strict=True) if not torch.equal(p, q)
    }
    assert moved == {n for n, p in model.named_parameters() if p.requires_grad}
    assert len(moved) == 4


def test_the_check_can_be_chosen(tmp_path):
    assert trainer(bert(), tmp_path).reweighter.check == "every"
    assert trainer(bert(), tmp_path, check="first").reweighter.check == "first"
    with pytest.raises(ValueError, match="check must be one of 'every', 'first'"):
        trainer(bert(), tmp_path, check="never")


def test_a_gradient_scaler_is_refused(tmp_path):
    given = arguments(tmp_path)
    run = trainer(bert(), tmp_path, given)
    given.fp16 = True  # transformers itself takes it on a GPU only
    with pytest.raises(ValueError, match="use bf16=True"):
        run._check_arguments(None)


def test_several_devices_are_refused(tmp_path):
    run = trainer(bert(), tmp_path)
    run.args._n_gpu = 2
    with pytest.raises(ValueError, match="one GPU visible"):
        run._check_arguments(None)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_for_the_next_token_gets_the_loss_of_the_model_itself(tmp_path, name):
    model = head(name)
    loss_fn = trainer(model, tmp_path).reweighter.loss_fn
    words = TRAIN.words[:5] % 12
    found = loss_fn(model(words), words).detach().mean()
    own = model(words, labels=words).loss.detach()
    torch.testing.assert_close(found.to(own.dtype), own, rtol=1e-6, atol=1e-7)


def test_gpt_2_is_trained(tmp_path):
    data = [{"input_ids": words, "labels": words} for words in TRAIN.words]
    model = head("GPT-2")
    run = trainer(model, tmp_path, train_dataset=data[20:], clean_dataset=data[:20], id_column=None)
    run.train()
    assert run.reweighter.last.weights.sum() == pytest.approx(1)
    assert largest_difference(model, head("GPT-2")) > 1e-3


def bart():
    size = {"d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 24}
    return BartForCausalLM(BartConfig(vocab_size=12, **size, pad_token_id=0, bos_token_id=1, eos_token_id=2))


def xlnet():
    return XLNetLMHeadModel(XLNetConfig(vocab_size=12, d_model=16, n_layer=1, n_head=2, d_inner=24))


@pytest.mark.parametrize("build", [bart, xlnet])
def test_a_head_whose_own_loss_is_another_one_is_refused(tmp_path, build):
    with pytest.raises(ValueError, match=r"does not compare each place with the token after it: give loss_fn\("):
        trainer(build(), tmp_path)
    assert trainer(build(), tmp_path, loss_fn=label_losses).reweighter.loss_fn is label_losses


@pytest.mark.parametrize("kind", [BertForSequenceClassification, BertForTokenClassification])
def test_a_single_output_is_a_regression_and_refused(tmp_path, kind):
    model = kind(BertConfig(**SIZE, num_labels=1))
    with pytest.raises(ValueError, match=r"regression .* one output: give loss_fn\(outputs, labels\).*square"):
        trainer(model, tmp_path)

    def squares(outputs, labels):
        return (outputs.logits.squeeze(1) - labels).square()

    assert trainer(model, tmp_path, loss_fn=squares).reweighter.loss_fn is squares


def test_a_model_whose_loss_is_unknown_is_refused(tmp_path):
    model = bert()
    model.config.problem_type = "regression"
    with pytest.raises(ValueError, match=r"give loss_fn\(outputs, labels\)"):
        trainer(model, tmp_path)


@pytest.mark.parametrize(("column", "error"), [("number", None), ("name", "a training batch has no name")])
def test_ids_are_asked_of_the_training_set_only(tmp_path, column, error):
    clean = [{name: value for name, value in row.items() if name != "number"} for row in (CLEAN[i] for i in range(20))]
    train = [TRAIN[i] for i in range(32)]
    run = trainer(bert(), tmp_path, train_dataset=train, clean_dataset=clean, id_column=column)
    if error is None:
        run.train()
        assert set(run.reweighter.last.ids.tolist()) <= set(range(32))
    else:
        with pytest.raises(ValueError, match=error):
            run.train()


def test_a_batch_without_labels_is_refused(tmp_path):
    unlabelled = [{"input_ids": words} for words in TRAIN.words]
    run = trainer(bert(), tmp_path, train_dataset=unlabelled, id_column=None)
    with pytest.raises(ValueError, match="a batch has no labels: it has input_ids"):
        run.train()


def test_a_label_out_of_range_is_refused():
    with pytest.raises(ValueError, match="labels go from 0 to 1"):
        label_losses(bert()(TRAIN.words[:3]), torch.tensor([0, 2, 1]))
