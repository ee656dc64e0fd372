"""Visual prototypes blended with text.

A query's cosine with a class's visual prototype, the normalised mean of its normalised support features, is blended with its
cosine with the class's text feature:

    score = 100 · ((1 − weight) · cosine(query, prototype) + weight · cosine(query, text))

A weight of 0 is a prototypical network with cosines on CLIP's features (Snell, Swersky and Zemel 2017, arXiv:1703.05175), and
a weight of 1 is CLIP zero-shot (Radford et al. 2021, arXiv:2103.00020). By default the weight is the best of 0, 0.1, …, 1 on
validation episodes of the same shape, so that it falls as shots grow.

This is a plain form of a published idea, and no reproduction of a paper. Xing, Rostamzadeh, Oreshkin and Pinheiro 2019,
"Adaptive cross-modal few-shot learning" (AM3), arXiv:1902.07104, mix prototypes with word embeddings, with a weight that a
network learns for every class; Proto-CLIP (Jaykumar P et al. 2023, arXiv:2307.03073) mixes the two probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.nn.functional import normalize

from ..base import Episodes, Method, class_means, parameter
from ..parts.clip_scores import text_of, text_scores, unit_support


@dataclass(frozen=True)
class ProtoText(Method):
    """Visual prototypes blended with text features by one weight (a simple relative of AM3, Xing et al. 2019)."""

    uses_text: ClassVar[bool] = True
    citation: ClassVar[str] = "a blend of arXiv:1703.05175 and arXiv:2103.00020; see Xing et al. 2019, arXiv:1902.07104"
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {"weight": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)}

    weight: float | Literal["auto"] = parameter(
        "auto",
        "of the text, from 0 (prototypes alone) to 1 (zero-shot); auto chooses on validation episodes",
        minimum=0,
        maximum=1,
    )

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: 100 times the blended cosine.

        Raises:
            UserError: the episodes bring no text features.
        """
        assert not isinstance(self.weight, str)
        means = class_means(unit_support(episodes), episodes.support_labels, episodes.ways)
        prototypes = normalize(means, dim=-1)  # [E, N, D]
        blended = prototypes.lerp(text_of(episodes), self.weight)
        return text_scores(normalize(episodes.query, dim=-1), blended)  # [E, Q, N]
