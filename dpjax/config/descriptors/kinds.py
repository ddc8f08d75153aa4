"""Kinds of descriptors, by type name: what the rest of the configuration, and of the package, must know of them."""

BY_TYPE = (
    "se_e2_a",
    "se_e2_r",
    "se_e3",
    "se_a_ebd_v2",
    "se_a_tpe",
    "loc_frame",
    "se_a_mask",
)  # networks per type: atoms and neighbours come in sections
PAIRS = ("se_e3", "se_e3_tebd", "se_atten", "se_atten_v2")  # arrays over pairs of neighbours
ANGLES = ("se_e3", "se_e3_tebd")  # embedding networks run for pairs of neighbours
MESSAGES = ("dpa2", "dpa3", "dpa4")  # layers in which atoms see what others have become, not only where they are
RADIAL = ("se_e2_r",)  # distances without directions
# may stand in a model with type vectors of its own
MODEL_VECTORS = ("se_e2_a", "se_e2_r", "se_e3", "se_a_ebd_v2", "se_atten", "se_atten_v2")
OWN_CUT = ("loc_frame", "se_a_mask")  # choose among all neighbours by a rule of their own: lists reach them whole
# every atom sees all others, so there is no cut-off and no cell; a mask says which atoms are real
OPEN = ("se_a_mask",)
# of DeePMD-kit's backends only this one has them: no .dp file holds them
ONLY_TENSORFLOW = ("loc_frame", "se_a_mask", "se_a_tpe")
