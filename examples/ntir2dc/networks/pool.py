"""A pool of earlier fakes for the discriminators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """History of generated images, which keeps a discriminator from forgetting (Shrivastava et al., CVPR 2017).

    While it fills, an image is stored and returned. Once full, an image is returned as it is or, with probability 1/2,
    takes the place of a random stored one, which is returned instead.

    Args:
        capacity: number of images; 0 passes everything through.
    """

    def __init__(self, capacity: int = 50) -> None:
        if capacity < 0:
            raise ValueError(f"capacity: expected at least 0, got {capacity}")
        self.capacity = capacity
        self.images: list[Tensor] = []

    def __len__(self) -> int:
        return len(self.images)

    def query(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return ``(B, C, H, W)`` detached images, each a new or a stored one.

        Args:
            images: ``(B, C, H, W)``, of the size of the stored ones.
            generator: source of the draws, None is torch's global one.
        """
        if images.ndim != 4:
            raise ValueError(f"images: expected (B, C, H, W), got {tuple(images.shape)}")
        if self.images and self.images[0].shape != images.shape[1:]:
            expected = (images.shape[0], *self.images[0].shape)
            raise ValueError(f"images: expected the stored size {expected}, got {tuple(images.shape)}")
        images = images.detach()
        if self.capacity == 0:
            return images.clone()
        device = generator.device if generator is not None else "cpu"
        chosen: list[Tensor] = []
        for image in images:
            if len(self.images) < self.capacity:
                self.images.append(image.clone())
                chosen.append(image)
            elif torch.rand((), generator=generator, device=device) < 0.5:
                place = int(torch.randint(self.capacity, (), generator=generator, device=device))
                chosen.append(self.images[place].to(image))
                self.images[place] = image.clone()
            else:
                chosen.append(image)
        return torch.stack(chosen)

    def state_dict(self) -> dict[str, Any]:
        """Return the capacity and the stored images."""
        return {"capacity": self.capacity, "images": [image.clone() for image in self.images]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, for a pool of the same capacity."""
        if state["capacity"] != self.capacity:
            raise ValueError(f"state: expected a pool of capacity {self.capacity}, got {state['capacity']}")
        self.images = [image.clone() for image in state["images"]]
