"""Every option of the trainer as frozen dataclasses, the presets, and the two readings of the losses.

A preset changes sizes, data and schedule, never the code path; a variant changes which reading of the losses is used.
"""

from ntir2dc.config.options import (
    CycleGANOptions,
    DataOptions,
    DRITOptions,
    ForkGANOptions,
    LossOptions,
    ModuleOptions,
    NetworkOptions,
    PearlGANOptions,
    PhaseOptions,
    ToDayGANOptions,
    UNITOptions,
)
from ntir2dc.config.plain import (
    differences,
    from_dict,
    from_stored,
    of_the_run,
    to_dict,
    what_matters,
    with_defaults,
)
from ntir2dc.config.presets import make_config
from ntir2dc.config.train import PresetName, TrainConfig, VariantName

__all__ = [
    "CycleGANOptions",
    "DRITOptions",
    "DataOptions",
    "ForkGANOptions",
    "LossOptions",
    "ModuleOptions",
    "NetworkOptions",
    "PearlGANOptions",
    "PhaseOptions",
    "PresetName",
    "ToDayGANOptions",
    "TrainConfig",
    "UNITOptions",
    "VariantName",
    "differences",
    "from_dict",
    "from_stored",
    "make_config",
    "of_the_run",
    "to_dict",
    "what_matters",
    "with_defaults",
]
