"""Pseudo-labels for any GAN (section 3.3.3): a frozen teacher, a student beside the GAN, and what both are sure of."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morn_losses._checks import check_bool, check_class_ids, check_image, check_labels, check_logits, check_shape
from morn_losses._precision import promote
from morn_losses.losses.class_balanced import class_balanced_cross_entropy
from morn_losses.pseudo_labels.distill import OnlineSemanticDistillation


class PseudoLabeler(nn.Module):
    r"""Labels of images that have none: a teacher reads the translation, a student the image, and both have to agree.

    .. math:: M^B = SDP\left(LM\left(S_B(x_b), S_A(G_{BA}(x_b))\right), x_b\right)

    with the teacher ``S_A``, the student ``S_B``, label mining ``LM`` (Eq. 8-9) and denoising ``SDP`` (Eq. 5-7). The
    student learns beside the GAN from ``student_loss``, a term for an optimizer of your own over
    ``student.parameters()``. Nothing here has a gradient that reaches a generator.

    Choice: the student learns by the class-balanced cross-entropy alone, as Eq. 10 has the boundary loss for real
    daytime images.

    Args:
        teacher: segmentation network of domain A, trained already. It is frozen here: its weights no longer require
            grad, and it always runs in eval mode.
        distill: what both are asked and how the answer is denoised, `morn_losses.OnlineSemanticDistillation`; its miner
            takes logits.
        student: segmentation network of domain B, of the same classes. None: a copy of the teacher, to be trained.
        agree: whether both have to be sure of a label (Eq. 8-9). False: the student alone, as the published code has it
            once its segmenters are frozen; where translations do not show a class yet, no agreement finds it.

    Both networks give logits ``(B, K, h, w)``, or anything that has them as ``.logits``; they are resized bilinearly to
    the size of the image. Under ``DistributedDataParallel`` wrap the student: ``student=DDP(student)``.

    Raises:
        TypeError: a part that is no such module; a network that gives neither.
        ValueError: the student is the teacher, a miner of probabilities; probabilities where logits are expected (eager
            CPU tensors only), logits of another batch size or number of classes; images and labels of other shapes.

    Example:
        >>> from morn_losses import LabelMiner, SemanticDenoiser
        >>> teacher = nn.Conv2d(1, 2, 1)  # a bright pixel is of class 1
        >>> teacher.weight.data, teacher.bias.data = torch.tensor([-9.0, 9.0]).view(2, 1, 1, 1), torch.zeros(2)
        >>> label = PseudoLabeler(teacher, OnlineSemanticDistillation(LabelMiner(0.9), SemanticDenoiser([(1, (0,))])))
        >>> real_b, fake_a = torch.tensor([[[[-1.0, 0.9, 0.1]]]]), torch.tensor([[[[-0.8, 0.7, -0.9]]]])
        >>> label(real_b, fake_a)
        tensor([[[  0,   1, 255]]])
        >>> fake_b, labels_a = torch.tensor([[[[-1.0, 1.0]]]]), torch.tensor([[[0, 1]]])
        >>> label.student_loss(fake_b, labels_a).item() < 1e-6
        True

    Source: section 3.3.3.
    """

    def __init__(
        self,
        teacher: nn.Module,
        distill: OnlineSemanticDistillation,
        *,
        student: nn.Module | None = None,
        agree: bool = True,
    ) -> None:
        super().__init__()
        for network, name in ((teacher, "teacher"), (student, "student")):
            if not isinstance(network, nn.Module) and not (network is None and name == "student"):
                raise TypeError(f"{name}: expected a torch.nn.Module, got {type(network).__name__}")
        # by what it holds: a compiled module is of another class
        if not isinstance(distill, nn.Module) or not hasattr(distill, "miner"):
            raise TypeError(f"distill: expected an OnlineSemanticDistillation, got {type(distill).__name__}")
        if not distill.miner.from_logits:
            raise ValueError("distill: expected a miner of logits, got one with from_logits=False")
        if student is teacher:
            raise ValueError("student: expected another network than the teacher, which stays as it is")
        self.student = copy.deepcopy(teacher).requires_grad_().train() if student is None else student
        self.teacher = teacher.requires_grad_(False)
        self.distill = distill
        check_bool(agree, "agree")
        self.agree = agree

    @torch.no_grad()
    def forward(self, real_b: Tensor, fake_a: Tensor) -> Tensor:
        """Return labels of ``real_b``, and so of its translation, int64 ``(B, H, W)``.

        Args:
            real_b: images of domain B, ``(B, C, H, W)``, C = 1 or 3.
            fake_a: their translations; C may differ. Nobody looks at them unless both have to ``agree``.
        """
        _check_pair(real_b, fake_a)
        with _evaluating(self.student, self.teacher):
            of_student = _logits(self.student, "student", real_b)
            of_teacher = _logits(self.teacher, "teacher", fake_a) if self.agree else of_student
        check_shape(of_teacher, "teacher", "logits (B, K, H, W), as the student's,", of_student.shape)
        labels: Tensor = self.distill(of_student, of_teacher, real_b)
        return labels

    def student_loss(self, fake_b: Tensor, labels_a: Tensor) -> Tensor:
        """Return the loss of the student on translated images whose labels are known, a scalar.

        With labels of ``forward`` it teaches the student real images, too.

        Args:
            fake_b: translations of images of domain A, ``(B, C, H, W)``; they carry no grad here.
            labels_a: labels of their sources, integers ``(B, H, W)``.
        """
        check_image(fake_b, "fake_b")
        B, _, H, W = fake_b.shape
        labels_a = check_labels(labels_a, "labels_a", (B, H, W))
        logits = _logits(self.student, "student", fake_b.detach())
        ignore_index = self.distill.miner.ignore_index
        check_class_ids(labels_a, "labels_a", logits.shape[1], ignore_index)
        return class_balanced_cross_entropy(logits, labels_a, ignore_index=ignore_index)

    def student_loss_from_teacher(self, real_b: Tensor, fake_a: Tensor) -> Tensor:
        """Return the loss of the student on real images against what the teacher alone is sure of, a scalar.

        For models that translate from B to A only, which have no ``fake_b``. The teacher's logits of the translation
        take both places in ``distill``.

        Args:
            real_b: images of domain B, ``(B, C, H, W)``, C = 1 or 3.
            fake_a: their translations; C may differ.
        """
        _check_pair(real_b, fake_a)
        with torch.no_grad(), _evaluating(self.teacher):
            of_teacher = _logits(self.teacher, "teacher", fake_a)
        return self.student_loss(real_b, self.distill(of_teacher, of_teacher, real_b))


def _check_pair(real_b: Tensor, fake_a: Tensor) -> None:
    check_image(real_b, "real_b")
    check_image(fake_a, "fake_a")
    B, _, H, W = real_b.shape
    check_shape(fake_a, "fake_a", "(B, C, H, W)", (B, fake_a.shape[1], H, W))


@contextmanager
def _evaluating(*networks: nn.Module) -> Iterator[None]:
    """Run networks in eval mode, and leave every part of them as it was.

    Under autocast without its cache: weights that are cast without grad would serve a pass with grad, too.
    """
    modes = [(module, module.training) for network in networks for module in network.modules()]
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        for network in networks:
            network.eval()
        yield
    finally:
        torch.set_autocast_cache_enabled(cached)
        for module, training in modes:
            module.training = training


def _logits(network: nn.Module, name: str, image: Tensor) -> Tensor:
    """Return what a network says of an image, ``(B, K, H, W)`` of its size, float32 at least."""
    output = network(image)
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor):
        kind = type(output).__name__
        raise TypeError(f"{name}: expected a network that gives a tensor or something with .logits, got {kind}")
    check_image(logits, name, channels=None)
    check_shape(logits, name, "logits (B, K, h, w)", (len(image), *logits.shape[1:]))
    check_logits(logits, name, remedy="leave the softmax off")
    logits = promote(logits)
    if logits.shape[2:] != image.shape[2:]:
        logits = F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)
    return logits
