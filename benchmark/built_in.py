"""The names that come with the package, and the base class of each kind. Plug-ins have theirs elsewhere (registry.py)."""

from __future__ import annotations

BUILT_IN: dict[str, dict[str, str]] = {
    "methods": {
        "anil": "fewbench.methods.adaptation.anil:ANIL",
        "baseline": "fewbench.methods.linear.baseline:Baseline",
        "baseline++": "fewbench.methods.linear.baseline_plus_plus:BaselinePlusPlus",
        "chance": "fewbench.methods.chance:Chance",
        "clip-adapter": "fewbench.methods.vision_language.clip_adapter:ClipAdapter",
        "clip-zero-shot": "fewbench.methods.vision_language.clip_zero_shot:ClipZeroShot",
        "coop": "fewbench.methods.vision_language.coop:CoOp",
        "feat": "fewbench.methods.metric.feat:Feat",
        "finetune": "fewbench.methods.adaptation.finetune:Finetune",
        "fomaml": "fewbench.methods.adaptation.fomaml:FirstOrderMAML",
        "learn2learn:MAML": "fewbench.methods.adaptation.learn2learn_adapter:Learn2LearnMAML",
        "learn2learn:MetaSGD": "fewbench.methods.adaptation.learn2learn_adapter:Learn2LearnMetaSGD",
        "linear-probe": "fewbench.methods.linear.linear_probe:LinearProbe",
        "maml": "fewbench.methods.adaptation.maml:MAML",
        "matching-net": "fewbench.methods.metric.matching_net:MatchingNet",
        "meta-baseline": "fewbench.methods.metric.meta_baseline:MetaBaseline",
        "meta-opt-net": "fewbench.methods.linear.meta_opt_net:MetaOptNet",
        "meta-sgd": "fewbench.methods.adaptation.meta_sgd:MetaSGD",
        "pmf": "fewbench.methods.adaptation.pmf:PMF",
        "proto+text": "fewbench.methods.vision_language.proto_text:ProtoText",
        "protonet": "fewbench.methods.metric.protonet:ProtoNet",
        "r2d2": "fewbench.methods.linear.r2d2:R2D2",
        "relation-net": "fewbench.methods.metric.relation_net:RelationNet",
        "reptile": "fewbench.methods.adaptation.reptile:Reptile",
        "ridge": "fewbench.methods.linear.ridge:Ridge",
        "simpleshot": "fewbench.methods.metric.simpleshot:SimpleShot",
        "sklearn:NAME": "fewbench.methods.linear.scikit_learn:ScikitLearnMethod",
        "tip-adapter": "fewbench.methods.vision_language.tip_adapter:TipAdapter",
        "tip-adapter-f": "fewbench.methods.vision_language.tip_adapter_f:TipAdapterF",
    },
    "datasets": {
        "cifar-fs": "fewbench.tasks.datasets.cifar_fs:CifarFs",
        "cub-200": "fewbench.tasks.datasets.cub_200:Cub200",
        "fc100": "fewbench.tasks.datasets.fc100:Fc100",
        "folder": "fewbench.tasks.datasets.folder:Folder",
        "hf:NAME": "fewbench.tasks.datasets.indexed.hugging_face:HuggingFace",
        "mini-imagenet": "fewbench.tasks.datasets.mini_imagenet:MiniImageNet",
        "omniglot": "fewbench.tasks.datasets.omniglot:Omniglot",
        "tiered-imagenet": "fewbench.tasks.datasets.tiered_imagenet:TieredImageNet",
        "torchvision:NAME": "fewbench.tasks.datasets.indexed.torchvision_dataset:Torchvision",
        "trifeature": "fewbench.tasks.datasets.trifeature:Trifeature",
    },
    "backbones": {
        "clip-tiny": "fewbench.benchmark.backbones.clip_tiny:ClipTiny",
        "conv4": "fewbench.benchmark.backbones.conv4:Conv4",
        "efficientnet-lite0": "fewbench.benchmark.backbones.efficientnet_lite:EfficientNetLite0",
        "efficientnet-lite2": "fewbench.benchmark.backbones.efficientnet_lite:EfficientNetLite2",
        "imported:NAME": "fewbench.benchmark.features.imported_backbone:ImportedBackbone",
        "open_clip:NAME": "fewbench.benchmark.backbones.open_clip_backbone:OpenClipBackbone",
        "relation-encoder": "fewbench.benchmark.backbones.relation_encoder:RelationEncoder",
        "resnet12": "fewbench.benchmark.backbones.resnet12:ResNet12",
        "timm:NAME": "fewbench.benchmark.backbones.timm_backbone:TimmBackbone",  # whatever NAME is
        "vit": "fewbench.benchmark.backbones.vit:ViT",
        "wrn-28-10": "fewbench.benchmark.backbones.wide_resnet:WideResNet",
    },
    "samplers": {
        "imbalanced": "fewbench.tasks.imbalanced:ImbalancedSampler",
        "meta-dataset": "fewbench.tasks.samplers:MetaDatasetSampler",
        "semantic": "fewbench.benchmark.evaluation.semantic_sampler:SemanticSampler",
        "uniform": "fewbench.tasks.samplers:UniformSampler",
    },
}
BASES = {
    "methods": "fewbench.methods.base:Method",
    "datasets": "fewbench.tasks.datasets.base:Dataset",
    "backbones": "fewbench.benchmark.backbones.base:Backbone",
    "samplers": "fewbench.tasks.samplers:Sampler",
}
NAMED = "fewbench.tasks.datasets.named:Named"  # the class of photos that a user has given a name
YOURS = "your photos"  # where they come from
