"""Where and how models run, decided for machines that are not here."""

from dataclasses import replace

import pytest
import torch

from models.device.hardware import Gpu, Hardware, detect
from models.device.plan import (
    Choice,
    DevicePlan,
    Preferences,
    Quantisation,
    SettingNames,
    Wishes,
    choose_device,
    choose_plan,
)
from models.llm.placement import NoRoom, check_room

GIB = 1 << 30
H100 = Gpu("H100", 80 * GIB, (9, 0))
A10 = Gpu("A10", 24 * GIB, (8, 6))
T4 = Gpu("T4", 16 * GIB, (7, 5))
P40 = Gpu("P40", 24 * GIB, (6, 1))
LAPTOP = Hardware()
NAMES = SettingNames(
    "DRCAP_CLAP__DEVICE", "DRCAP_LLM__DEVICE", "DRCAP_LLM__DTYPE", "DRCAP_LLM__QUANTISATION", "DRCAP_CACHE"
)
NO_WISHES, NO_PREFERENCES = Wishes(), Preferences()


def server(*gpus: Gpu, torchao: bool = True) -> Hardware:
    return Hardware(gpus, int8=True, torchao=torchao)


def plan(hardware: Hardware, wishes: Wishes = NO_WISHES, bundle: Preferences = NO_PREFERENCES) -> DevicePlan:
    return choose_plan(wishes, bundle, hardware)


def test_without_a_gpu_everything_runs_on_the_cpu_in_float32() -> None:
    chosen = plan(LAPTOP)
    assert (chosen.clap.value, chosen.llm.value) == (torch.device("cpu"), (torch.device("cpu"),))
    assert (chosen.dtype.value, chosen.quantisation.value) == (torch.float32, "none")
    assert chosen.clap.reason == "no GPU is there"


@pytest.mark.parametrize(
    ("gpu", "dtype"), [(H100, torch.bfloat16), (A10, torch.bfloat16), (T4, torch.float16), (P40, torch.float32)]
)
def test_the_type_is_the_best_that_the_gpu_has(gpu: Gpu, dtype: torch.dtype) -> None:
    chosen = plan(server(gpu))
    assert chosen.dtype.value == dtype
    assert gpu.name in chosen.dtype.reason
    assert chosen.llm.value == (torch.device("cuda", 0),)


def test_of_several_gpus_the_first_is_taken_and_the_others_are_told() -> None:
    chosen = plan(server(A10, A10))
    assert chosen.replicas == 1
    assert "1 more that no setting names" in chosen.llm.reason


def test_a_list_of_gpus_has_a_copy_of_the_llm_on_each_and_the_clap_on_the_first() -> None:
    chosen = plan(server(A10, H100, A10), Wishes("cuda:2, cuda:1"))
    assert chosen.llm.value == (torch.device("cuda", 2), torch.device("cuda", 1))
    assert chosen.clap.value == torch.device("cuda", 2)
    assert chosen.replicas == 2


def test_clap_and_llm_may_sit_on_different_devices() -> None:
    chosen = plan(server(A10, A10), Wishes("cpu", clap_device="cuda:1", llm_device="cuda:0"))
    assert (chosen.clap.value, chosen.llm.value) == (torch.device("cuda", 1), (torch.device("cuda", 0),))
    assert plan(server(A10), Wishes(clap_device="cpu")).llm.value[0].type == "cuda"


def test_copies_on_unlike_gpus_have_the_type_that_all_of_them_have() -> None:
    assert plan(server(H100, T4), Wishes("cuda:0,cuda:1")).dtype.value == torch.float16


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (Wishes("toaster"), "toaster"),
        (Wishes("cuda:2"), "sees 2 GPU"),
        (Wishes("cuda:0,cpu"), "DRCAP_LLM__DEVICE"),
        (Wishes("cuda:0,cuda"), "twice"),
        (Wishes(clap_device="cuda:0,cuda:1"), "DRCAP_CLAP__DEVICE"),
        (Wishes(quantisation="fp8"), r"DRCAP_LLM__QUANTISATION is fp8.*8\.9.*A10"),
        (Wishes("cpu", quantisation="int4"), "needs a GPU"),
        (Wishes("cpu", dtype="bfloat16", quantisation="int8"), "DRCAP_LLM__DTYPE"),
        (Wishes(dtype="float16", quantisation="int4"), "DRCAP_LLM__DTYPE"),
    ],
)
def test_a_wish_that_cannot_be_had_is_refused_with_its_setting(wishes: Wishes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plan(server(A10, A10), replace(wishes, names=NAMES))


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="sees no GPU"):
        plan(LAPTOP, Wishes("cuda"))


def test_a_type_that_the_gpu_does_not_have_is_refused_if_asked_for_and_replaced_if_preferred() -> None:
    with pytest.raises(ValueError, match="T4 does not have"):
        plan(server(T4), Wishes(dtype="bfloat16"))
    assert plan(server(T4), bundle=Preferences(dtype="bfloat16")).dtype.value == torch.float16


def test_the_type_of_the_bundle_is_kept_unless_another_is_asked_for() -> None:
    assert plan(server(A10), bundle=Preferences(dtype="float32")).dtype.value == torch.float32
    assert plan(server(A10), Wishes(dtype="auto"), Preferences(dtype="float32")).dtype.value == torch.bfloat16
    assert plan(LAPTOP, Wishes(dtype="bfloat16")).dtype.value == torch.bfloat16


def test_int8_of_a_bundle_is_for_cpus_and_on_a_gpu_it_must_be_asked_for() -> None:
    assert plan(LAPTOP, bundle=Preferences(quantisation="int8")).quantisation.value == "int8"
    assert plan(server(A10), bundle=Preferences(quantisation="int8")).quantisation.value == "none"
    assert plan(server(A10), Wishes(quantisation="int8"), Preferences(quantisation="int8")).quantisation.value == "int8"
    assert plan(LAPTOP, Wishes(quantisation="none"), Preferences(quantisation="int8")).quantisation.value == "none"


def test_a_bundle_made_for_a_gpu_runs_without_one_and_the_plan_says_what_is_missing() -> None:
    chosen = plan(LAPTOP, bundle=Preferences(quantisation="int4", dtype="float16"))
    assert chosen.quantisation == Choice("none", "the bundle prefers int4, but int4 needs a GPU; a CPU has int8")
    assert plan(server(H100), bundle=Preferences(quantisation="fp8")).quantisation.value == "fp8"


def test_int8_without_its_kernel_is_refused_if_asked_for_and_left_out_if_preferred() -> None:
    arm = Hardware(int8=False)
    assert plan(arm, bundle=Preferences(quantisation="int8")).quantisation.value == "none"
    with pytest.raises(ValueError, match="no int8 kernel"):
        plan(arm, Wishes(quantisation="int8"))


def test_a_library_that_is_not_installed_is_named_with_how_to_install_it() -> None:
    with pytest.raises(ValueError, match=r"torchao: pip install 'drcap\[gpu\]'"):
        plan(server(H100, torchao=False), Wishes(quantisation="int4"))


@pytest.mark.parametrize("quantisation", ["int4", "fp8"])
def test_kernels_that_take_bfloat16_get_it(quantisation: Quantisation) -> None:
    chosen = plan(server(H100), Wishes(quantisation=quantisation), Preferences(dtype="float32"))
    assert chosen.dtype.value == torch.bfloat16


def test_a_plan_says_every_decision_with_its_reason() -> None:
    lines = plan(server(A10, A10), Wishes("cuda:0,cuda:1")).lines()
    assert len(lines) == 4
    assert lines[1] == "LLM on cuda:0, cuda:1, 2 copies of the LLM: as asked"
    assert all(": " in line and line.split(": ", 1)[1] for line in lines)


def test_a_bundle_without_preferences_is_one_that_has_none() -> None:
    assert choose_plan(Wishes(), hardware=LAPTOP) == choose_plan(Wishes(), NO_PREFERENCES, LAPTOP)


def test_weights_that_do_not_fit_are_refused_before_they_are_moved() -> None:
    device, hardware = torch.device("cuda", 1), server(H100, T4)
    check_room(14 * GIB, device, hardware, NAMES)
    with pytest.raises(
        NoRoom, match=r"14\.9 GiB.*T4 \(cuda:1\).*16\.0 GiB.*DRCAP_LLM__QUANTISATION.*DRCAP_LLM__DEVICE"
    ):
        check_room(16 * 10**9, device, hardware, NAMES)


def test_this_machine_can_be_looked_at() -> None:
    there = detect()
    assert len(there.gpus) == (torch.cuda.device_count() if torch.cuda.is_available() else 0)
    assert choose_device("cpu", there).device.type == "cpu"
