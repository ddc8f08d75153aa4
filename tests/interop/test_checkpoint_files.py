"""Models in DeePMD-kit's own files: what it made a ``.dp`` of and what we read is the same; ``from_weights``; what is refused.

``make_checkpoints.py`` makes the files.
"""

from __future__ import annotations

import copy
import json
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

import dpjax
from dpjax.checkpoints.folder import read_foreign
from dpjax.cli.main import main
from dpjax.errors import ConfigError, ModelError
from dpjax.formats.torch_archive import read_torch
from dpjax.interfaces.files import branches, load_all
from dpjax.interop import checkpoint_files, read_weights, write_model
from dpjax.interop.checkpoint_files import completed
from dpjax.interop.names import names_of
from dpjax.interop.standard import flatten
from tests.contracts.cases import CASES, model, potential, se_e2_a
from tests.shared import golden, shared
from tests.training import tiny

FILES = {
    "se_e2_a/model.pt": "se_e2_a/model.dp",
    "se_e2_a/model.pth": "se_e2_a/model.dp",
    "se_atten/model.pt": "se_atten/model.dp",
    "se_atten/model.pth": "se_atten/model.dp",
    "se_atten/model.jax": "se_atten/model.dp",
}
TASKS = golden("checkpoints", "tasks", "model.pt")


def fixture(name: str):
    return golden("checkpoints", *name.split("/"))


def assert_same(got: dpjax.Potential, want: dpjax.Potential) -> None:
    """Bit by bit, and the same options."""
    assert_equal_trees(got.variables, want.variables)
    assert options(got) == options(want)
    assert (got.type_map, got.conventions) == (want.type_map, want.conventions)


def assert_equal_trees(got, want) -> None:
    one, other = (jax.tree_util.tree_leaves_with_path(tree) for tree in (got, want))
    assert [path for path, _ in one] == [path for path, _ in other]
    for (path, a), (_, b) in zip(one, other):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


def options(pot: dpjax.Potential) -> dict:
    """Options of the descriptor and the fitting, in one spelling and without those that say nothing about a finished model."""
    found = {}
    for part in (pot.config.descriptor, pot.config.fitting_net):
        own = {k: v for k, v in vars(part).items() if k not in ("seed", "precision", "trainable")}
        found[type(part).__name__] = own | ({"ln_eps": own["ln_eps"] or 1e-5} if "ln_eps" in own else {})
    return found | {key: getattr(pot.config, key) for key in ("pair_exclude_types", "atom_exclude_types")}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_deepmd_kit_converts_it_to(name):
    assert_same(dpjax.load(fixture(name)), dpjax.load(fixture(FILES[name])))


@pytest.mark.slow
def test_energies_and_forces_are_those_of_the_converted_file():
    rng = np.random.default_rng(0)
    frame = {"coord": rng.uniform(0, 5, (1, 6, 3)), "atype": [0, 1, 1, 0, 1, 1], "cell": 5 * np.eye(3)[None]}
    got, want = (dpjax.load(fixture(f"se_e2_a/model.{end}")).evaluate(**frame) for end in ("pt", "dp"))
    for name, array in want.items():
        assert np.abs(got[name] - array).max() <= 1e-12 * max(1.0, np.abs(array).max()), name


@pytest.mark.parametrize("head", ["cold", "hot", "ice", None])
def test_a_branch_of_several(head):
    """By its name, by an alias, and the one that is called Default where none is chosen."""
    want = "hot" if head == "hot" else "cold"
    assert_same(dpjax.load(TASKS, head=head), dpjax.load(fixture(f"tasks/{want}.dp")))


def test_names_of_branches():
    assert branches(TASKS) == ("cold", "hot", "Default", "ice")
    assert branches(TASKS, aliases=False) == ("cold", "hot")
    assert branches(fixture("se_atten/model.jax")) == branches(fixture("se_atten/model.pth")) == ()
    assert [pot.type_map for pot in load_all(fixture("se_atten/model.jax"))] == [["O", "H"]]
    with pytest.raises(ModelError, match="'warm' is not among them. Name one with head: cold, hot"):
        dpjax.load(TASKS, head="warm")
    with pytest.raises(ModelError, match="single model without branches"):
        dpjax.load(fixture("se_e2_a/model.pt"), head="cold")
    with pytest.raises(ModelError, match="not an ensemble"):
        dpjax.load(fixture("se_e2_a/model.pt"), member=0)


def test_a_jax_checkpoint_of_several_tasks(tmp_path):
    """Made of one of a single task, as DeePMD-kit's trainer lays it out."""
    state, definition = read_foreign(fixture("se_atten/model.jax"), "state", "model_def_script")
    parts = {
        "state": ocp.args.StandardSave({"models": {"cold": state, "hot": state}}),
        "model_def_script": ocp.args.JsonSave(
            {"model_dict": {"cold": definition, "hot": definition}, "current_step": 2}
        ),
    }
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler("state", "model_def_script")) as checkpointer:
        checkpointer.save(tmp_path / "m.jax", ocp.args.Composite(**parts))
    assert branches(tmp_path / "m.jax") == ("cold", "hot")
    assert_same(dpjax.load(tmp_path / "m.jax", head="hot"), dpjax.load(fixture("se_atten/model.dp")))
    with pytest.raises(ModelError, match="holds several models and none was chosen"):
        dpjax.load(tmp_path / "m.jax")


def test_the_folder_of_a_training_of_deepmd_kit(tmp_path):
    """Its file ``checkpoint`` names the newest one."""
    shutil.copy(TASKS, tmp_path / "model.ckpt-2.pt")
    (tmp_path / "checkpoint").write_text("model.ckpt-2.pt")
    assert branches(tmp_path, aliases=False) == ("cold", "hot")
    assert_same(dpjax.load(tmp_path, head="hot"), dpjax.load(fixture("tasks/hot.dp")))


@pytest.mark.slow
def test_trainings_start_from_checkpoints_of_deepmd_kit(tmp_path):
    """With ``--init-model`` from the whole model, with ``--finetune`` from a branch."""
    given = tiny.config([tiny.system(tmp_path / "system")], {"training/numb_steps": 0})
    started = dpjax.train(given, tmp_path / "one", init_model=fixture("se_e2_a/model.pt"), use_pretrain_script=True)
    want, got = dpjax.load(fixture("se_e2_a/model.dp")), dpjax.load(started.checkpoint)
    assert_equal_trees(got.variables["params"], want.variables["params"])
    tuned = dpjax.train(given, tmp_path / "two", finetune=TASKS, model_branch="hot", use_pretrain_script=True)
    want, got = dpjax.load(fixture("tasks/hot.dp")), dpjax.load(tuned.checkpoint)
    assert_equal_trees(got.variables["params"], want.variables["params"])
    with pytest.raises(ConfigError, match="has the branches cold, hot, Default, ice"):
        dpjax.train(given, tmp_path / "three", finetune=TASKS, model_branch="warm")


def test_convert(tmp_path, capsys):
    assert main(["convert", str(fixture("se_e2_a/model.pth")), str(tmp_path / "m.yaml")]) == 0
    assert_same(dpjax.load(tmp_path / "m.yaml"), dpjax.load(fixture("se_e2_a/model.dp")))
    assert main(["convert", str(TASKS), "--head", "hot", str(tmp_path / "hot.dp")]) == 0
    assert_same(dpjax.load(tmp_path / "hot.dp"), dpjax.load(fixture("tasks/hot.dp")))


@pytest.mark.parametrize("end", [".pth", ".pt", ".jax", ".pb", ".savedmodel"])
def test_what_is_written_for_other_backends_comes_from_deepmd_kit(end, tmp_path, capsys):
    assert main(["convert", str(fixture("se_e2_a/model.dp")), str(tmp_path / f"m{end}")]) == 1
    assert f"dp convert-backend m.dp m{end}" in capsys.readouterr().err
    assert not (tmp_path / f"m{end}").exists()


def test_a_file_that_only_deepmd_kit_reads(tmp_path):
    (tmp_path / "graph.pb").write_bytes(b"")
    with pytest.raises(
        ModelError, match=r"graph\.pb: only DeePMD-kit itself reads .* dp convert-backend graph\.pb graph\.dp"
    ):
        dpjax.load(tmp_path / "graph.pb")
    with pytest.raises(ModelError, match="no such file"):
        dpjax.load(tmp_path / "absent.pt")


def test_a_damaged_folder(tmp_path):
    shutil.copytree(fixture("se_atten/model.jax"), tmp_path / "m.jax")
    shutil.rmtree(tmp_path / "m.jax" / "state")
    with pytest.raises(ModelError, match=r"m\.jax: not a readable checkpoint of DeePMD-kit's JAX backend"):
        dpjax.load(tmp_path / "m.jax")


def test_the_bias_is_changed_in_converted_files(tmp_path):
    from dpjax.interfaces.bias import change_bias

    with pytest.raises(ModelError, match=r"dpjax convert model\.pt model\.dp"):
        change_bias(fixture("se_e2_a/model.pt"), tmp_path / "out.dp", values=[0.0, 0.0])


# weights by name


@pytest.fixture
def weights():
    """Definition and state of a trained model."""
    state = read_torch(fixture("se_e2_a/model.pt"))["model"]
    return state["_extra_state"]["model_params"], {k: v for k, v in state.items() if isinstance(v, np.ndarray)}


def test_from_weights(weights):
    assert_same(dpjax.interop.from_weights(*weights), dpjax.load(fixture("se_e2_a/model.dp")))
    assert dpjax.interop.from_weights(*weights, conventions="corrected").conventions == "corrected"


def test_every_name_must_match(weights):
    section, state = weights
    lost = "model.Default.atomic_model.fitting_net.filter_layers.networks.1.layers.0.bias"
    changed = {k: v for k, v in state.items() if k not in (lost, lost.replace(".networks", "._networks"))}
    changed["atomic_model.descriptor.extra"] = np.zeros(2)
    with pytest.raises(ModelError) as raised:
        dpjax.interop.from_weights(section, changed)
    assert f"1 weights of the model are missing: {lost.removeprefix('model.Default.')}" in str(raised.value)
    assert "1 names belong to nothing in the model: atomic_model.descriptor.extra" in str(raised.value)


def test_other_shapes_numbers_and_sources_are_refused(weights):
    section, state = weights
    name = "model.Default.atomic_model.out_bias"
    with pytest.raises(
        ModelError, match=r"atomic_model\.out_bias: found shape \(3,\), the model section needs \(1, 2, 1\)"
    ):
        read_weights(section, state | {name: np.zeros(3)})
    twice = "model.Default.atomic_model.fitting_net.filter_layers._networks.0.layers.0.bias"
    with pytest.raises(ModelError, match="stored under two names"):
        read_weights(section, state | {twice: state[twice] + 1})
    with pytest.raises(ModelError, match="this model is compressed"):
        read_weights(section, state | {"model.Default.atomic_model.descriptor.sea.compress_data.0": np.zeros((4, 2))})
    with pytest.raises(ModelError, match="source: found 'paddle', expected one of pytorch, jax, tensorflow"):
        read_weights(section, state, "paddle")


def test_models_that_are_not_built_say_what_is_missing(weights, monkeypatch):
    section = copy.deepcopy(weights[0])
    section["descriptor"] = {"type": "dpa4c", "rcut": 4.0}
    with pytest.raises(ConfigError, match="'dpa4c' is not built yet"):
        dpjax.interop.from_weights(section, weights[1])
    state = {"_extra_state": {"model_params": section}}
    monkeypatch.setattr(checkpoint_files, "read_torch", lambda path: {"model": state})
    with pytest.raises(ModelError, match=r"model\.pt: .*'dpa4c' is not built yet"):
        dpjax.load(fixture("se_e2_a/model.pt"))


def test_weights_take_the_precision_of_the_section(weights):
    section, state = copy.deepcopy(weights[0]), weights[1]
    section["descriptor"]["precision"] = "float32"
    _, variables = read_weights(section, state)
    kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(variables["params"]["descriptor"])}
    assert kinds == {"float32"}
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables["params"]["fitting_net"])} == {"float64"}


def test_definitions_without_defaults_mean_those_of_deepmd_kits_classes():
    """``dp train`` writes every key; a definition that somebody wrote has what he left out from the classes."""
    made = completed({"type_map": ["H"], "descriptor": {"type": "dpa1", "sel": 8, "ntypes": 1}, "fitting_net": {}})
    assert made["descriptor"]["smooth_type_embedding"] is True and "ntypes" not in made["descriptor"]
    assert made["descriptor"]["neuron"] == [25, 50, 100] and made["fitting_net"]["neuron"] == [128, 128, 128]
    members = completed({"descriptor": {"type": "hybrid", "list": [{"type": "se_a"}, {"type": "se_r"}]}})["descriptor"][
        "list"
    ]
    assert [member.get("type_one_side") for member in members] == [True, None]


def test_options_of_tensorflow_alone_are_left_out(weights):
    """With ``layer_name`` layers 0 and 1 would be one in TensorFlow; what PyTorch trained are two."""
    section, state = copy.deepcopy(weights[0]), weights[1]
    section["fitting_net"]["layer_name"] = [None, "same", None]
    assert_same(dpjax.interop.from_weights(section, state), dpjax.interop.from_weights(*weights))
    section = {
        "type_map": ["O", "H"],
        "descriptor": {"type": "se_r", "rcut": 3.0, "sel": [4, 4], "type_one_side": False},
    }
    with pytest.raises(ModelError, match="weights of the model are missing") as raised:
        read_weights(section | {"fitting_net": {}}, {"model.Default.atomic_model.out_bias": np.zeros((1, 2, 1))})
    assert "filter_layers.networks.1." in str(raised.value) and "descriptor.filter_layers.networks.2." not in str(
        raised.value
    )


# TensorFlow


def test_tensorflow_names():
    section = json.loads(shared("golden", "tf", "mixed_precision_se_e2_a", "model.json").read_text())["model"]
    stored = dict(np.load(shared("golden", "tf", "mixed_precision_se_e2_a", "weights.npz")))
    pot = dpjax.interop.from_weights(section, stored)
    params, stats = pot.variables["params"], pot.variables["stats"]
    for centre in range(2):
        for neighbour in range(2):
            got = params["descriptor"][f"embedding_{centre}_{neighbour}"]["layers_1"]["matrix"]
            np.testing.assert_array_equal(got, stored[f"filter_type_{centre}/matrix_2_{neighbour}"].astype(np.float32))
    np.testing.assert_array_equal(
        params["fitting_net"]["net_1"]["layers_1"]["idt"], stored["layer_1_type_1/idt"].astype(np.float32)
    )
    mean = stored["descrpt_attr/t_avg"].reshape(2, -1, 4)[:, 0]
    np.testing.assert_array_equal(stats["descriptor"]["davg"], mean.astype(np.float32))


def test_tensorflow_names_of_shared_layers():
    """A model whose layers share parameters holds each of them once."""
    section = model(
        se_e2_a(type_one_side=True), fitting={"neuron": [6, 6, 6], "layer_name": [None, "same", "same", None]}
    )
    pot = potential(section)
    params, stats = pot.variables["params"], pot.variables["stats"]
    named = {
        "model_attr/model_attr/t_out_bias": stats["out_bias"][None],
        "model_attr/model_attr/t_out_std": stats["out_std"][None],
    }
    slots = sum(pot.config.descriptor.sel)
    for ours, theirs in (("davg", "t_avg"), ("dstd", "t_std")):
        named[f"descrpt_attr/{theirs}"] = np.repeat(stats["descriptor"][ours][:, None], slots, axis=1).reshape(2, -1)
    for neighbour in range(2):
        for i, layer in enumerate(params["descriptor"][f"embedding_{neighbour}"].values()):
            named |= {f"filter_type_all/{leaf}_{i + 1}_{neighbour}": value for leaf, value in layer.items()}
    for t in range(2):
        net = params["fitting_net"][f"net_{t}"]
        for place, own in (("layer_0", "layers_0"), ("share_same", "layers_1"), ("final_layer", "layers_3")):
            named |= {f"{place}_type_{t}/{leaf}": value for leaf, value in net[own].items()}
    named["fitting_attr/t_bias_atom_e"] = stats["fitting_net"]["bias_atom_e"].ravel()
    assert_same(dpjax.interop.from_weights(section, named), dpjax.interop.from_weights(section, named, "tensorflow"))
    assert_equal_trees(dpjax.interop.from_weights(section, named).variables, pot.variables)


def test_networks_of_tensorflow_that_would_get_more_skips_are_refused():
    """There a first layer as wide as the descriptor, or twice as wide, has none."""
    section = model(se_e2_a(neuron=[2, 4], axis_neuron=2), fitting={"neuron": [8, 8]})
    with pytest.raises(ModelError, match="fitting_net/neuron/0: layer 1 makes 8 numbers of 8"):
        dpjax.interop.from_weights(section, {"descrpt_attr/t_avg": np.zeros(1)}, "tensorflow")


@pytest.mark.parametrize("source", ["pytorch", "jax"])
@pytest.mark.parametrize("name", ["dpa2", "dpa3-sequential", "dpa3-charge-spin"])
def test_residual_vectors_of_layers_are_found_by_name(name, source):
    """They are lists in a tree and numbered in a checkpoint."""
    pot = potential(next(case.section for case in CASES if case.name == name))
    tree = write_model(pot.config, pot.variables)["model"]
    arrays = flatten(tree)
    state = {theirs: arrays[ours] for ours, theirs in names_of(tree, source).items()}
    assert any(".0.n_residual.0" in key or ".0.g1_residual.0" in key for key in state)
    found = dpjax.interop.from_weights(pot.config.raw, state, source)
    assert jax.tree.all(jax.tree.map(np.array_equal, found.variables, pot.variables))
