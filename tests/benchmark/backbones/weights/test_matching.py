import pytest
import torch
from torch import Tensor, nn

from fewbench.benchmark.backbones.weights.matching import fill
from fewbench.core.errors import UserError

LAYERS = 10  # twenty tensors: two misses are allowed


def network(layers: int = LAYERS, width: int = 2) -> nn.Module:
    """A network with all its layers in one part, `trunk`."""
    module = nn.Module()
    module.trunk = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))
    return module


def state(module: nn.Module | None = None) -> dict[str, Tensor]:
    """Other values for every tensor."""
    shapes = (module or network()).state_dict()
    return {name: torch.full_like(value, number + 1) for number, (name, value) in enumerate(shapes.items())}


def loaded(module: nn.Module, given: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, given[name]) for name, value in module.state_dict().items())


def refusal(module: nn.Module, tensors: dict[str, Tensor]) -> str:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(UserError) as caught:
        fill(module, tensors, "w.pt", "net")
    assert loaded(module, before)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "encoder.",
        "backbone.",
        "module.encoder.",
        "module.module.backbone.",
        "_orig_mod.",
        "student.net.",
        "x.module.",
    ],
)
def test_the_prefixes_of_trainers_are_stripped(prefix: str):
    module, given = network(), state()
    said = fill(module, {prefix + name: value for name, value in given.items()}, "w.pt", "net")
    assert said == "weights w.pt: 20 of 20 tensors of net match"
    assert loaded(module, given)


def test_a_prefix_that_the_network_has_itself_stays():
    module = nn.Module()
    module.encoder = network().trunk
    given = state(module)
    fill(module, {f"module.{name}": value for name, value in given.items()}, "w.pt", "net")
    assert loaded(module, given)


def test_names_that_have_nothing_in_common_are_told():
    said = refusal(network(), {f"conv.{number}": value for number, value in enumerate(state().values())})
    assert "0 of 20 tensors match" in said and said.endswith("; the file has conv.0, conv.1, conv.2 and 17 more")


def test_a_classifier_head_is_ignored_and_told():
    module, given = network(), state()
    head = {f"module.{name}": torch.zeros(5) for name in ("head.weight", "head.bias", "fc.0.weight", "fc.0.bias")}
    said = fill(module, {**{f"module.{name}": value for name, value in given.items()}, **head}, "w.pt", "net")
    assert said.endswith("20 of 20 tensors of net match; not used: head.weight, head.bias, fc.0.weight and 1 more")
    assert loaded(module, given)


def test_ninety_percent_are_enough_and_the_rest_is_named():
    module, given = network(), state()
    before = module.trunk[9].weight.clone()  # type: ignore[index,union-attr]
    given["trunk.9.weight"] = torch.zeros(3, 3)
    del given["trunk.9.bias"]
    said = fill(module, given, "w.pt", "net")
    shapes = "trunk.9.weight is [3, 3] in the file, [2, 2] in the network, trunk.9.bias"
    assert said == f"weights w.pt: 18 of 20 tensors of net match; left at their initial values: {shapes}"
    assert torch.equal(module.trunk[9].weight, before)  # type: ignore[index,union-attr]
    assert module.trunk[8].weight.eq(given["trunk.8.weight"]).all()  # type: ignore[index,union-attr]


def test_less_is_refused_with_the_first_misses():
    given = state()
    given["trunk.0.weight"] = torch.zeros(3, 3)
    given["trunk.1.weight"] = torch.zeros(2, 2, dtype=torch.int8)
    del given["trunk.5.bias"], given["trunk.7.bias"]
    assert refusal(network(), given) == (
        "--weights w.pt do not fit backbone net: 16 of 20 tensors match (80 % of the numbers), 90 % are needed; "
        "trunk.0.weight is [3, 3] in the file, [2, 2] in the network, trunk.1.weight is torch.int8 in the file, "
        "trunk.5.bias is not in the file and 1 more"
    )


def test_tensors_that_hold_most_of_the_numbers_have_to_match():
    module = network()
    module.embedding = nn.Linear(9, 9, bias=False)  # 81 numbers beside 60
    message = refusal(module, state())
    assert "20 of 21 tensors match (42 % of the numbers), 90 % are needed; embedding.weight is not in the file" in message


@pytest.mark.parametrize(("value", "said"), [(float("nan"), "NaN"), (float("-inf"), "infinity")])
def test_values_that_are_not_finite_are_refused(value: float, said: str):
    given = state()
    given["trunk.3.weight"][1, 0] = value
    assert refusal(network(), given) == (
        f"--weights w.pt hold {said} in trunk.3.weight; take weights from before their training diverged"
    )
    foreign = {**state(), "head.weight": torch.full((2,), value)}  # of a part that is not used
    fill(network(), foreign, "w.pt", "net")


def test_weights_of_our_own_have_to_match_whole():
    given = state()
    del given["trunk.0.bias"]
    with pytest.raises(
        UserError, match=r"19 of 20 tensors match \(96 % of the numbers\), 100 % are needed; trunk\.0\.bias is not in the file$"
    ):
        fill(network(), given, "w.pt", "net", needed=1.0)


def test_a_deeper_network_of_the_same_family_is_refused():
    message = refusal(network(), state(network(layers=13)))
    assert "20 of 26 tensors match" in message and "trunk.10.weight is in the file alone" in message


def test_two_networks_in_one_file_are_told():
    given = state()
    both = {f"{prefix}.{name}": value for prefix in ("encoder", "backbone") for name, value in given.items()}
    assert refusal(network(), both).endswith(
        "the network several times; take --weights w.pt#encoder or --weights w.pt#backbone"
    )


def test_batch_norm_statistics_are_matched_and_its_counter_is_not():
    module = nn.Sequential(nn.BatchNorm2d(2))
    given = {name: value for name, value in state(module).items() if not name.endswith("num_batches_tracked")}
    assert fill(module, given, "w.pt", "net") == "weights w.pt: 4 of 4 tensors of net match"
    del given["0.running_var"]
    assert "3 of 4 tensors match" in refusal(module, given)


def test_half_precision_becomes_single():
    module, given = network(), state()
    fill(module, {name: value.half() for name, value in given.items()}, "w.pt", "net")
    assert loaded(module, given) and module.trunk[0].weight.dtype == torch.float32  # type: ignore[index,union-attr]
