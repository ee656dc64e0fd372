import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cosine_similarity

from fewbench.benchmark.backbones.base import Backbone, TokenBlocks
from fewbench.benchmark.backbones.tuning import counts, unfreeze
from fewbench.benchmark.backbones.visual_prompts import DeepPrompts, PromptPool
from fewbench.benchmark.backbones.weights.loading import make_backbone

TEXT = {"context_length": 8, "vocab_size": 32, "width": 16, "heads": 2, "layers": 1}
CLIP: dict[str, dict[str, Any]] = {
    "prompted-vit": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "prompted-coca": {
        "image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16,
        "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True,
    },
    "prompted-trunk": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear"},
}  # fmt: skip
NETWORKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "vit": ("vit", {"width": 16, "depth": 2, "heads": 2}, 16),
    "timm-class-token": ("timm:vit_tiny_patch16_224", {"img_size": 32, "depth": 2}, 32),
    "timm-two-tokens": ("timm:deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 2}, 32),
    "timm-pooled-by-attention": ("timm:vit_base_patch16_siglip_224", {"img_size": 32, "depth": 1}, 32),
    "clip": ("open_clip:prompted-vit", {}, 32),
    "clip-coca": ("open_clip:prompted-coca", {}, 32),
    "clip-trunk": ("open_clip:prompted-trunk", {}, 160),
}
SCOPES = {"prompt": {"prompts"}, "prompt-pool": {"prompts", "keys"}}


@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("open_clip")
    for name, vision in CLIP.items():
        (folder / f"{name}.json").write_text(json.dumps({"embed_dim": 12, "vision_cfg": vision, "text_cfg": TEXT}))
    open_clip.add_model_config(folder)


def build(name: str) -> tuple[Backbone, nn.Module, Tensor]:
    called, settings, size = NETWORKS[name]
    backbone = make_backbone(called, settings)
    module = backbone.build(3, size, torch.Generator().manual_seed(0)).eval()
    return backbone, module, torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(1))


def freed(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_moves_the_prompts_and_nothing_else(name: str, scope: str):
    backbone, module, images = build(name)
    features, before = module(images), copy.deepcopy(module.state_dict())
    state = torch.get_rng_state()
    prompted = unfreeze(module, scope, backbone)
    assert torch.equal(torch.get_rng_state(), state) and not any(part.training for part in prompted.modules())
    start = copy.deepcopy(prompted.state_dict())
    own = freed(prompted)
    assert own.keys() == SCOPES[scope]
    assert counts(module, backbone)[scope] == sum(value.numel() for value in own.values())
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    at_first = prompted(images)
    assert at_first.shape == features.shape and not torch.allclose(at_first, features, atol=1e-3)
    (at_first * weights).sum().backward()
    torch.optim.SGD([value for value in prompted.parameters() if value.requires_grad], lr=0.1).step()
    moved = {key for key, value in prompted.state_dict().items() if not torch.equal(value, start[key])}
    assert moved == SCOPES[scope]
    assert not torch.equal(prompted(images), at_first)
    # the network that was given is as it was
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert torch.equal(module(images), features) and all(value.requires_grad for value in module.parameters())


def tokens_of(module: Any, images: Tensor) -> Tensor:
    """What enters the first block of timm's transformer."""
    return module._pos_embed(module.patch_embed(images))


@pytest.mark.parametrize("name", ["vit", "timm-class-token"])
def test_deep_prompts_are_those_of_the_paper(name: str):
    backbone, network, images = build(name)
    module: Any = network
    prompted = unfreeze(module, "prompt", backbone)
    assert isinstance(prompted, DeepPrompts) and prompted.prompts.shape[:2] == (2, 10)
    x, prefix = tokens_of(module, images), module.num_prefix_tokens
    for block, tokens in zip(module.blocks, prompted.prompts, strict=True):  # behind the class token, as the paper writes it
        behind = x[:, prefix:]
        x = block(torch.cat([x[:, :prefix], tokens.expand(len(x), -1, -1), behind], dim=1))
        x = torch.cat([x[:, :prefix], x[:, prefix + 10 :]], dim=1)
    torch.testing.assert_close(prompted(images), module.forward_head(module.norm(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vit", "timm-class-token"])
def test_each_image_chooses_the_prompts_whose_keys_are_nearest(name: str):
    backbone, network, images = build(name)
    module: Any = network
    prompted = unfreeze(module, "prompt-pool", backbone)
    assert isinstance(prompted, PromptPool) and prompted.prompts.shape[:2] == (10, 5)
    features, prefix = prompted(images), module.num_prefix_tokens
    chosen_by = []
    for image, feature in zip(images, features, strict=True):
        query = module(image[None])
        order = cosine_similarity(query, prompted.keys).argsort(descending=True)[:5]
        chosen_by.append(frozenset(order.tolist()))
        x = tokens_of(module, image[None])
        x = module.blocks(torch.cat([x[:, :prefix], *(prompted.prompts[i][None] for i in order), x[:, prefix:]], dim=1))
        x = torch.cat([x[:, :prefix], x[:, prefix + 25 :]], dim=1)
        torch.testing.assert_close(feature, module.forward_head(module.norm(x))[0], rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # other keys, other prompts
        prompted.keys.neg_()
    assert not torch.allclose(prompted(images), features, atol=1e-4)


def test_chosen_keys_are_drawn_to_the_images_and_prompts_follow_the_loss():
    backbone, module, images = build("timm-class-token")
    prompted = unfreeze(module, "prompt-pool", backbone)
    assert isinstance(prompted, PromptPool)
    weights = torch.randn(3, 192, generator=torch.Generator().manual_seed(2))
    (prompted(images) * weights).mean().backward()
    queries = module(images).detach()
    keys = prompted.keys.detach().clone().requires_grad_()
    cosines = cosine_similarity(queries[:, None], keys[None], dim=2)  # [B, M]
    chosen = torch.zeros_like(cosines).scatter_(1, cosines.topk(5, dim=1).indices, 1.0)
    (0.5 * (chosen * (1 - cosines)).sum() / len(images)).backward()
    assert prompted.keys.grad is not None and keys.grad is not None and prompted.prompts.grad is not None
    torch.testing.assert_close(prompted.keys.grad, keys.grad, rtol=1e-4, atol=1e-6)
    used = chosen.sum(dim=0) > 0
    assert torch.equal(prompted.prompts.grad.abs().sum(dim=(1, 2)) > 0, used)


@pytest.mark.parametrize("scope", SCOPES)
def test_prompts_are_the_same_each_time_within_the_bounds_of_xavier(scope: str):
    backbone, module, _ = build("vit")
    torch.manual_seed(1)
    first = freed(unfreeze(module, scope, backbone))
    torch.manual_seed(2)
    again = freed(unfreeze(module, scope, backbone))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    for value in first.values():
        bound = math.sqrt(6 / (value.shape[-2] + value.shape[-1]))
        assert 0.9 * bound < value.abs().max() <= bound and value.mean().abs() < 0.1 * bound
    assert not torch.equal(first["prompts"][0], first["prompts"][1])


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of attention under vmap
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", ["vit", "clip"])
def test_prompts_may_be_passed_by_name_for_many_episodes_at_once(name: str, scope: str):
    backbone, module, images = build(name)
    prompted = unfreeze(module, scope, backbone)
    noise = torch.Generator().manual_seed(3)
    own = freed(prompted)
    many = {key: value + 0.1 * torch.randn((2, *value.shape), generator=noise) for key, value in own.items()}
    batches = torch.stack([images, images.flip(0) / 2])
    weights = torch.randn(prompted(images).shape, generator=noise)

    def loss(parameters: dict[str, Tensor], batch: Tensor) -> Tensor:
        return (functional_call(prompted, parameters, (batch,)) * weights).mean()

    together = vmap(grad(loss))(many, batches)
    for episode, batch in enumerate(batches):
        leaves = {key: value[episode].clone().requires_grad_() for key, value in many.items()}
        gradients = torch.autograd.grad(loss(leaves, batch), [*leaves.values()])
        for key, gradient in zip(leaves, gradients, strict=True):
            assert gradient.abs().max() > 0
            torch.testing.assert_close(together[key][episode], gradient, rtol=1e-3, atol=1e-6)
    assert all(torch.equal(value, own[key]) for key, value in freed(prompted).items())


@pytest.mark.parametrize("scope", SCOPES)
def test_a_copy_has_prompts_of_its_own(scope: str):
    backbone, module, images = build("vit")
    prompted = unfreeze(module, scope, backbone)
    features, other = prompted(images), copy.deepcopy(prompted)
    assert torch.equal(other(images), features)
    with torch.no_grad():
        other.get_parameter("prompts").neg_()
    assert not torch.allclose(other(images), features, atol=1e-4) and torch.equal(prompted(images), features)


class Refusing(nn.Module):
    """A block that fails where tokens have joined."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > 3:
            raise ValueError("no")
        return x


class First(nn.Module):
    """The vector of the first token."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


def hooks(module: nn.Module) -> Iterator[Any]:
    for part in module.modules():
        yield from part._forward_hooks.values()
        yield from part._forward_pre_hooks.values()


@pytest.mark.parametrize("cls", [DeepPrompts, PromptPool])
def test_nothing_is_left_in_the_network_after_a_failure(cls: type[DeepPrompts | PromptPool]):
    network = nn.Sequential(nn.Identity(), Refusing(), First())
    prompted = cls(network, TokenBlocks(("0", "1"), width=4, features=4), torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"^no$"):
        prompted(torch.zeros(1, 3, 4))
    assert not [*hooks(prompted)]


@pytest.mark.parametrize(
    ("name", "settings", "size"),
    [("conv4", {"width": 4}, 16), ("timm:test_efficientnet", {}, 32), ("timm:beit_base_patch16_224", {"depth": 1}, 224)],
)
def test_what_is_no_plain_transformer_has_no_place_for_them(name: str, settings: dict, size: int):
    backbone = make_backbone(name, settings)
    assert backbone.token_blocks(backbone.build(3, size, torch.Generator().manual_seed(0))) is None
