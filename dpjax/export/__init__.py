"""Models as portable artifacts: one ``.dpx`` file with weights and StableHLO programs, and the module that runs it alone.

``save`` writes it, ``read_artifact`` reads the model back into dpjax, ``Artifact`` evaluates it without the rest of dpjax.
``fixed_program`` is one program for hosts in other languages.
The format is described in ``docs/artifact.md``.
"""

from dpjax.export.fixed import FixedProgram, fixed_program
from dpjax.export.reader import read_artifact
from dpjax.export.runtime import SUFFIX, Artifact, ArtifactError
from dpjax.export.writer import PLATFORMS, save

__all__ = ["PLATFORMS", "SUFFIX", "Artifact", "ArtifactError", "FixedProgram", "fixed_program", "read_artifact", "save"]
