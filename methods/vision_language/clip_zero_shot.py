"""CLIP zero-shot: the class whose text is nearest.

Radford et al. 2021, "Learning transferable visual models from natural language supervision", arXiv:2103.00020 (section 3.1.2).

A class's name is put into one or several prompts ("a photo of a dog."). The text tower encodes each, and the normalised mean of
their normalised features is the class's text feature. A query's score is 100 · cosine(image feature, text feature). The
support images are not used, so that the scores are the same for any number of shots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import normalize

from ..base import Episodes, Method
from ..parts.clip_scores import text_of, text_scores


@dataclass(frozen=True)
class ClipZeroShot(Method):
    """CLIP zero-shot: cosine of the image with the text of each class, no support images (Radford et al. 2021)."""

    uses_support: ClassVar[bool] = False
    uses_text: ClassVar[bool] = True
    citation: ClassVar[str] = "Radford et al. 2021, arXiv:2103.00020"

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: 100 times the cosine.

        Raises:
            UserError: the episodes bring no text features.
        """
        return text_scores(normalize(episodes.query, dim=-1), text_of(episodes))  # [E, Q, N]
