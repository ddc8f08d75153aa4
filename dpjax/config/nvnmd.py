"""The ``nvnmd`` section: training for the NVNMD hardware."""

from __future__ import annotations

from dpjax.config.schema import REQUIRED, Option


def argument() -> Option:
    """The ``nvnmd`` argument."""
    later = "training for the NVNMD hardware"

    def option(name: str, dtype: type, doc: str) -> Option:
        return Option(name, dtype, doc, REQUIRED, not_built=later)

    return Option(
        "nvnmd",
        dict,
        "Training of a quantised model for the NVNMD hardware.",
        not_built=later,
        sub_fields=[
            option("version", int, "Version of the quantised model: 0 (few types) or 1 (up to 32 types)."),
            option("max_nnei", int, "Largest number of neighbours: 128 or 256."),
            option("net_size", int, "Width of the fitting net's layers; the hardware has 128."),
            option("map_file", str, "File with the tables that replace the embedding nets; empty for none."),
            option("config_file", str, "File with the hardware configuration; empty for none."),
            option("weight_file", str, "File with the parameters to start from; empty for none."),
            option("enable", bool, "Whether this section takes effect."),
            option("restore_descriptor", bool, "Whether the descriptor starts from the files."),
            option("restore_fitting_net", bool, "Whether the fitting net starts from the files."),
            option("quantize_descriptor", bool, "Whether the descriptor is quantised: the second stage of a training."),
            option(
                "quantize_fitting_net", bool, "Whether the fitting net is quantised: the second stage of a training."
            ),
        ],
    )
