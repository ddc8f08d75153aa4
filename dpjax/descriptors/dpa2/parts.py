"""What the parts of ``dpa2`` are configured with.

Two of them are descriptors that also stand alone: repinit is ``se_atten`` without attention, its three-body branch ``se_e3_tebd``.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpjax.config.descriptors import DPA2Config, SeAttenConfig, SeE3TebdConfig
from dpjax.config.descriptors.dpa2_repformer import RepformerConfig


@dataclass(frozen=True)
class RepformersConfig:
    """Hyper-parameters of the repformer layers, with those that they share with the other parts."""

    layers: RepformerConfig
    precision: str = "default"
    smooth: bool = True
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0

    rcut = property(lambda self: self.layers.rcut)
    rcut_smth = property(lambda self: self.layers.rcut_smth)
    sel = property(lambda self: self.layers.nsel)


def repinit_of(config: DPA2Config) -> SeAttenConfig:
    """The two-body part."""
    own = config.repinit
    return SeAttenConfig(
        rcut=own.rcut,
        rcut_smth=own.rcut_smth,
        sel=own.nsel,
        neuron=own.neuron,
        axis_neuron=own.axis_neuron,
        tebd_dim=own.tebd_dim,
        tebd_input_mode=own.tebd_input_mode,
        set_davg_zero=own.set_davg_zero,
        activation_function=own.activation_function,
        resnet_dt=own.resnet_dt,
        type_one_side=own.type_one_side,
        smooth_type_embedding=config.smooth,
        precision=config.precision,
        trainable=config.trainable,
        exclude_types=config.exclude_types,
        env_protection=config.env_protection,
        attn_layer=0,
        concat_output_tebd=False,
    )


def three_body_of(config: DPA2Config) -> SeE3TebdConfig:
    """The three-body part."""
    own = config.repinit
    return SeE3TebdConfig(
        rcut=own.three_body_rcut,
        rcut_smth=own.three_body_rcut_smth,
        sel=own.three_body_sel,
        neuron=own.three_body_neuron,
        tebd_dim=own.tebd_dim,
        tebd_input_mode=own.tebd_input_mode,
        set_davg_zero=own.set_davg_zero,
        activation_function=own.activation_function,
        resnet_dt=own.resnet_dt,
        smooth=config.smooth,
        precision=config.precision,
        trainable=config.trainable,
        exclude_types=config.exclude_types,
        env_protection=config.env_protection,
        concat_output_tebd=False,
    )


def repformers_of(config: DPA2Config) -> RepformersConfig:
    """The layers."""
    return RepformersConfig(
        config.repformer, config.precision, config.smooth, config.exclude_types, config.env_protection
    )
