"""What is on when: the phases, the one table of what each of them has, and the epochs at which they start."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Literal

from ntir2dc.config import ModuleOptions, PhaseOptions


class Phase(IntEnum):
    """The phases in their order."""

    WARM_UP = 0
    """Beyond the paper, and none by default: the segmenters learn alone."""
    BASELINE = 1
    STRUCTURE = 2
    SEGMENT_A = 3
    SEGMENT_B = 4
    DISTILL = 5
    COLLABORATE = 6


PAPER_PHASES = tuple(phase for phase in Phase if phase is not Phase.WARM_UP)


@dataclass(frozen=True)
class Active:
    """What is on in a phase, beside the baseline: adversarial, cycle, TV, SGA and monochromatic terms."""

    translating: bool
    """The baseline: generators and discriminators learn."""
    ssim: bool
    """The SSIM term of the cycle loss."""
    temperature: bool
    """T_tr (Eq. 3)."""
    seg_ra: bool
    """L_ra of Eq. 10 trains S_A on real color images."""
    seg_la: bool
    """S_B also learns from color images in a random thermal look (beyond the paper)."""
    filling: bool
    """S_A also learns boundaries, and its own confident predictions where nothing is labeled."""
    seg_fb: Literal["off", "detached", "let in"]
    """L_fb of Eq. 10 on translated thermal images: trains S_B alone (detached), or reaches the generator."""
    seg_rb: bool
    """L_rb of Eq. 10 trains S_B on real thermal images with mined labels."""
    scale: bool
    """Scale robustness (Eq. 20-22)."""
    frozen: bool
    """S_A and S_B no longer learn, and label as they are."""
    memory: bool
    """The memory is filled and picks the thermal images (Eq. 11)."""
    aca: bool
    """Adaptive collaborative attention (Eq. 12-17)."""
    cgr: bool
    """Conditional gradient repair (Eq. 18-19)."""
    seg_fa: bool
    """L_fa of Eq. 10 on translated color images trains the generator."""

    @property
    def learning(self) -> bool:
        """Whether a segmenter learns."""
        return self.seg_ra or self.seg_la or (self.seg_fb != "off" and not self.frozen)


def active(phase: Phase, modules: ModuleOptions, *, pretrained: bool = False) -> Active:
    """Return what is on in a phase of a run with these modules: the table of docs/method.md.

    Which network a term of Eq. 10 trains: L_ra S_A, unless it is ``pretrained``; L_rb S_B; L_fb S_B alone while it is
    detached, then S_B and G_AB, and G_AB alone once the segmenters are frozen; L_fa G_BA.
    """
    P, sc = Phase, modules.sc
    taught = sc and (phase is P.WARM_UP or P.SEGMENT_A <= phase < P.COLLABORATE)
    let_in: Literal["detached", "let in"] = "let in" if phase >= P.DISTILL else "detached"
    return Active(
        translating=phase >= P.BASELINE,
        ssim=phase >= P.STRUCTURE,
        temperature=phase >= P.STRUCTURE,
        seg_ra=taught and not pretrained,
        seg_la=taught and modules.looks,
        filling=sc and P.SEGMENT_B <= phase < P.COLLABORATE,
        seg_fb=let_in if sc and phase >= P.SEGMENT_B else "off",
        seg_rb=sc and phase is P.DISTILL,
        scale=modules.sr and phase >= P.DISTILL,
        frozen=sc and phase is P.COLLABORATE,
        memory=modules.mgca and phase is P.COLLABORATE,
        aca=modules.mgca and phase is P.COLLABORATE,
        cgr=modules.cgr and phase is P.COLLABORATE,
        seg_fa=sc and (phase is P.COLLABORATE or (phase is P.DISTILL and modules.early_fa)),
    )


@dataclass(frozen=True)
class Schedule:
    """The first epoch of each of the paper's phases, for a run of ``epochs`` epochs.

    What comes before the first of them is the warm-up.
    """

    starts: tuple[int, ...]
    epochs: int

    @classmethod
    def from_options(cls, options: PhaseOptions, epochs: int) -> Schedule:
        """Turn fractions and epochs into first epochs.

        If all starts are fractions and there are at least as many epochs as phases, every phase gets at least one
        epoch; a shorter run skips phases. Starts given as epochs are taken as they are.

        Raises:
            ValueError: negative or decreasing starts.
        """
        names = [f.name for f in fields(options)]
        given = [float(getattr(options, name)) for name in names]
        starts = [round(value * epochs) if value < 1 else round(value) for value in given]
        for i in range(1, len(starts)):
            if given[i] < 0 or starts[i] < starts[i - 1]:
                raise ValueError(f"phases.{names[i]}: expected a start at or after that of {names[i - 1]}, got {given}")
        if max(given) < 1 and epochs >= len(starts):
            for i in range(1, len(starts)):
                starts[i] = max(starts[i], starts[i - 1] + 1)
            for i in reversed(range(len(starts))):
                starts[i] = min(starts[i], epochs - (len(starts) - i))
        return cls(tuple(starts), epochs)

    def phase(self, epoch: int) -> Phase:
        """Return the phase of an epoch."""
        begun = [phase for phase, start in zip(PAPER_PHASES, self.starts, strict=True) if start <= epoch]
        return max(begun, default=Phase.WARM_UP)

    def describe(self) -> str:
        """Return the phases and their epochs as one line; the warm-up if there is one."""
        parts = []
        for phase in Phase:
            epochs = [e for e in range(self.epochs) if self.phase(e) is phase]
            span = f"{epochs[0]}-{epochs[-1]}" if epochs else "none"
            if epochs or phase in PAPER_PHASES:
                parts.append(f"{phase.name.lower()} {span}")
        return "epochs by phase: " + ", ".join(parts)
