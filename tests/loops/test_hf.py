"""Hugging Face's Trainer with reweighting trains what the loop written by hand trains."""

import pytest
import torch
from problems import largest_difference
from torch.utils.data import Dataset

pytest.importorskip("transformers", reason="transformers is not installed: the extra 'transformers' brings it")
pytest.importorskip("accelerate", reason="accelerate is not installed: the extra 'transformers' brings it")

from transformers import (
    BartConfig,
    BartForCausalLM,
    BertConfig,
    BertForMaskedLM,
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
    Trainer,
    TrainerCallback,
    TrainingArguments,
    XLNetConfig,
    XLNetLMHeadModel,
    get_linear_schedule_with_warmup,
)

from l2rw_core import Reweighter
from l2rw_core.datasets import BatchStream
from l2rw_core.loops.hf import ReweightedTrainer, label_losses, next_token_losses

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
