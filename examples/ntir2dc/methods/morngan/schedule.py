"""The phases of training: which terms of Eq. 23 and which networks are active in an epoch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

from ntir2dc.config import PhaseOptions


class Phase(IntEnum):
    """The phases in their order; each keeps what the ones before it switched on unless it says otherwise."""

    BASELINE = 1
    """Adversarial, cycle (L1 only), total variation, SGA and the monochromatic term."""
    STRUCTURE = 2
    """+ the SSIM term of the cycle loss, + the temperature term."""
    SEGMENT_A = 3
    """+ L_ra trains S_A."""
    SEGMENT_B = 4
    """+ boundary loss and filled labels for S_A, + L_fb trains S_B on detached translations."""
    DISTILL = 5
    """+ L_rb trains S_B on mined labels, + L_fb reaches the generator, + SR."""
    COLLABORATE = 6
    """S_A and S_B are frozen (no L_ra, L_rb); + memory pairing, ACA, CGR and L_fa."""


@dataclass(frozen=True)
class Schedule:
    """The first epoch of each phase, for a run of ``epochs`` epochs."""

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
        names = ["baseline"] + [f.name for f in fields(options)]
        given = [0.0] + [float(getattr(options, f.name)) for f in fields(options)]
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
        return max(phase for phase, start in zip(Phase, self.starts, strict=True) if start <= epoch)

    def describe(self) -> str:
        """Return the phases and their epochs as one line."""
        parts = []
        for phase in Phase:
            epochs = [e for e in range(self.epochs) if self.phase(e) is phase]
            span = f"{epochs[0]}-{epochs[-1]}" if epochs else "none"
            parts.append(f"{phase.name.lower()} {span}")
        return "epochs by phase: " + ", ".join(parts)
