"""Recognition networks of the compressed-video papers: tensors in, tensors out.

Named backbones are built by `transformers` (the extra `heads`), with random weights; any module of
one's own serves too. Nothing here reads a video: see `docs/heads.md` for the inputs.
"""

from __future__ import annotations

from .attp import (
    ATTP,
    AlignedOutput,
    Alignment,
    FlowTeacher,
    alignment_loss,
    attp_loss,
    small_attp,
)
from .backbones import (
    Backbone,
    efficientnet_b1,
    mobilenet_v2,
    resnet18,
    resnet152,
    small_cnn,
)
from .checkpoints import coviar_state_dict, imagenet_resnet_state_dict, mfnet_state_dict
from .coviar import CoViAR, Scores, small_coviar
from .dmcnet import (
    Discriminator,
    DMCNet,
    DMCOutput,
    Generator,
    Losses,
    block_mean,
    decay_groups,
    small_dmcnet,
    stage1_loss,
    stage2_classifier_loss,
    stage2_generator_loss,
)
from .fusion import (
    BilinearHead,
    ConcatMLP,
    LateFusion,
    ThreeStreamNet,
    TrilinearHead,
    small_three_stream,
)
from .johnston import JohnstonNet
from .mfcdnet import (
    ClipKind,
    MimicLosses,
    RgbTeacher,
    compressed_clip,
    kl_divergence,
    mimic_loss,
    normalise_clip,
)
from .mfnet import MFNet3D, small_mfnet
from .pooling import CompactBilinearPooling, TrilinearPooling, signed_sqrt_l2
from .streams import Stream, consensus, fuse_scores, parameter_groups

__all__ = [
    "ATTP",
    "AlignedOutput",
    "Alignment",
    "Backbone",
    "BilinearHead",
    "ClipKind",
    "CoViAR",
    "CompactBilinearPooling",
    "ConcatMLP",
    "DMCNet",
    "DMCOutput",
    "Discriminator",
    "FlowTeacher",
    "Generator",
    "JohnstonNet",
    "LateFusion",
    "Losses",
    "MFNet3D",
    "MimicLosses",
    "RgbTeacher",
    "Scores",
    "Stream",
    "ThreeStreamNet",
    "TrilinearHead",
    "TrilinearPooling",
    "alignment_loss",
    "attp_loss",
    "block_mean",
    "compressed_clip",
    "consensus",
    "coviar_state_dict",
    "decay_groups",
    "efficientnet_b1",
    "fuse_scores",
    "imagenet_resnet_state_dict",
    "kl_divergence",
    "mfnet_state_dict",
    "mimic_loss",
    "mobilenet_v2",
    "normalise_clip",
    "parameter_groups",
    "resnet18",
    "resnet152",
    "signed_sqrt_l2",
    "small_attp",
    "small_cnn",
    "small_coviar",
    "small_dmcnet",
    "small_mfnet",
    "small_three_stream",
    "stage1_loss",
    "stage2_classifier_loss",
    "stage2_generator_loss",
]
