"""k processes with shares of a batch make the update of one process with the whole of it."""

from functools import lru_cache

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from processes import APART, STEPS, M, N, Scale, Signed, Swish, all_sgd, case_of, halved, sgd, small, small_net, work
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from l2rw_core.loops.distributed import DistributedReweighter
from l2rw_core.reweight import Reweighter


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    # One fresh process imports what all four need, and what the first optimizer imports: most of a minute together.
    torch.multiprocessing.get_context("forkserver").set_forkserver_preload(["processes", "torch._dynamo"])
    torch.multiprocessing.start_processes(work, (folder,), nprocs=4, start_method="forkserver")
    return folder


@pytest.fixture(params=[2, 4])
def results(request, folder):
    """What each of 2, and of 4, processes on this machine came to."""
    return [torch.load(folder / f"{request.param}-{rank}.pt", weights_only=True) for rank in range(request.param)]


@lru_cache
def alone(name, engine="forward", steps=5, warmup=0):
    model = case_of(name).model
    reweighter = Reweighter(model, sgd(model), case_of(name).loss_fn, engine, warmup)
    effective = []
    for k in range(steps):
        case = case_of(name, k)
        effective.append(reweighter.step(case.batch, case.clean).effective_examples)
    return model.state_dict(), reweighter.last, effective


def assert_same_state(state, expected):
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("name", ["mlp", "lenet", "group_norm", "tied", "branching"])
def test_unequal_shares_give_the_parameters_of_one_process(name, results):
    state, last, effective = alone(name, steps=STEPS[name])
    for result in results:
        assert_same_state(result[name]["state"], state)
        assert result[name]["effective"] == pytest.approx(effective, abs=1e-8)
        assert result[name]["step"]["examples_of_all"] == 12
        for whole in ("loss", "clean_loss"):
            torch.testing.assert_close(result[name]["step"][whole], getattr(last, whole), rtol=0, atol=1e-9)
    for shared in ("weights", "alignment", "losses"):
        joined = torch.cat([result[name]["step"][shared] for result in results])
        torch.testing.assert_close(joined, getattr(last, shared), rtol=0, atol=1e-9)
    sizes = N[len(results)]
    assert tuple(len(result[name]["step"]["weights"]) for result in results) == sizes
    assert len(set(sizes)) > 1
    assert len(set(M[len(results)])) > 1


@pytest.mark.parametrize("engine", ["two_pass", "ghost", "reverse"])
def test_other_engines_give_it_too(engine, results):
    state, _, _ = alone("mlp", engine)
    for result in results:
        assert_same_state(result[f"mlp {engine}"]["state"], state)
        assert result[f"mlp {engine}"]["engine"] == engine


def test_a_warm_up_weighs_the_whole_batch_alike(results):
    state, _, effective = alone("mlp", warmup=3)
    assert effective[:3] == pytest.approx([12, 12, 12])
    for result in results:
        assert_same_state(result["mlp warm-up"]["state"], state)
        assert result["mlp warm-up"]["effective"] == pytest.approx(effective, abs=1e-8)


def test_ids_are_those_of_the_own_share(results):
    assert torch.cat([result["mlp"]["step"]["ids"] for result in results]).tolist() == list(range(12))


def test_a_loop_of_ones_own_reduces_the_gradients(results):
    state, _, _ = alone("branching", steps=3)
    for result in results:
        assert_same_state(result["own loop"]["state"], state)


def test_all_skip_a_batch_in_which_nothing_agrees(results):
    for result in results:
        outcome = result["all opposed"]
        assert not outcome["moved"]
        assert outcome["weights"].tolist() == [0, 0]
        assert outcome["effective"] == 0


def test_a_process_whose_examples_all_oppose_still_takes_the_step(results):
    for rank, result in enumerate(results):
        outcome = result["one agrees"]
        assert outcome["moved"]
        assert float(outcome["weights"].sum()) == pytest.approx(1 if rank == 0 else 0)
        assert torch.equal(outcome["weight"], results[0]["one agrees"]["weight"])


def test_an_error_in_one_process_is_an_error_in_all_and_changes_nothing(results):
    *others, last = [result["failure"] for result in results]
    assert [("training loss is NaN" in e, "clean loss is NaN" in e) for e in last["errors"]] == [(1, 0), (0, 1)]
    for outcome in others:
        assert len(outcome["errors"]) == 2
        assert all(e.startswith("RuntimeError: 1 other process") for e in outcome["errors"])
    assert all(result["failure"]["unchanged"] for result in results)
    assert sum(result["failure"]["after"] for result in results) == pytest.approx(1)


@lru_cache
def alone_with_a_loss_of_its_own(name="tanh"):
    model, loss_fn = small_net(activation=Swish(scripted=False) if name == "swish" else None), Scale()
    reweighter = Reweighter(model, all_sgd(model, loss_fn), loss_fn)
    for k in range(5):
        reweighter.step(*small(k))
    assert loss_fn.log_scale.abs().min() > 1e-3
    return {**model.state_dict(), "log_scale": loss_fn.log_scale.detach()}


@pytest.mark.parametrize("name", ["loss of its own", "loss of its own, own loop", "wrapped"])
def test_a_loss_with_parameters_is_trained_and_copied_like_the_model(name, results):
    for result in results:
        assert_same_state(result[name]["state"], alone_with_a_loss_of_its_own())


def test_each_process_may_have_an_engine_of_its_own(results):
    assert tuple(result["engines apart"]["engine"] for result in results) == APART[: len(results)]
    for result in results:
        assert_same_state(result["engines apart"]["state"], alone("mlp")[0])


def test_a_process_that_leaves_its_engine_ends_with_the_parameters_of_one_process(results):
    first, *others = [result["one leaves its engine"] for result in results]
    assert first["engine"] == "reverse"
    assert any('engine "reverse" is used instead of "forward"' in message for message in first["said"])
    for other in others:
        assert other["engine"] == "forward"
        assert other["said"] == []
    for result in (first, *others):
        assert_same_state(result["state"], alone_with_a_loss_of_its_own("swish"))


@pytest.mark.parametrize(("name", "steps"), [("no engine", 0), ("no engine later", 1)])
def test_a_process_without_any_engine_is_an_error_in_all_and_changes_nothing(name, steps, results):
    *others, last = [result[name] for result in results]
    assert last["error"].startswith("ValueError: no engine finds weights that fit the gradient")
    assert all(outcome["error"].startswith("RuntimeError: 1 other process") for outcome in others)
    for outcome in (last, *others):
        assert outcome["unchanged"]
        assert outcome["steps"] == steps
    assert sum(result[name]["after"] for result in results) == pytest.approx(1)


def test_a_wrapper_for_several_processes_is_refused_by_the_class_for_one(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = small_net()
        wrapped = DistributedDataParallel(model)
        with pytest.raises(
            ValueError, match=r"DistributedDataParallel, .* to l2rw_core.loops.distributed.DistributedReweighter"
        ):
            Reweighter(wrapped, sgd(model), Signed())
        assert DistributedReweighter(wrapped, sgd(model), Signed()).model is model
    finally:
        dist.destroy_process_group()


def test_different_networks_are_refused_in_every_process(results):
    assert all("different networks" in result["different networks"]["error"] for result in results)


def test_what_cannot_run_is_refused_at_once():
    model = nn.Linear(3, 1)
    with pytest.raises(RuntimeError, match="init_process_group"):
        DistributedReweighter(model, sgd(model), Signed())
    with pytest.raises(ValueError, match="lookahead"):
        DistributedReweighter(model, sgd(model), Signed(), engine="lookahead")


def test_clean_losses_that_are_far_apart_count_alike_in_half_precision(results):
    """Each process keeps its own clean gradient from underflowing, by a factor that must not stay in the sum."""
    x, clean_x, clean_y = halved(len(results))
    v = (clean_y[:, None] * clean_x).mean(0)
    found = torch.cat([result["half precision"]["alignment"] for result in results])
    torch.testing.assert_close(found, x @ v, rtol=5e-3, atol=0)
