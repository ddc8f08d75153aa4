"""The i-PI client, with ASE's socket calculator as the server."""

from __future__ import annotations

import threading
import uuid

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.socketio import SocketIOCalculator

from dpjax.errors import DPError
from dpjax.interfaces.ase import DPCalculator
from dpjax.interfaces.ipi import run_ipi_client
from tests.contracts.cases import model, potential, se_e2_a
from tests.contracts.structures import make
from tests.interfaces.quick import quick


@pytest.fixture(scope="module")
def pot():
    return quick(potential(model(se_e2_a())))


def test_a_server_gets_energy_forces_and_stress(pot):
    s, name = make("crystal"), f"dpjax-{uuid.uuid4().hex[:8]}"
    served = Atoms(np.array(["O", "H"])[s.atype], positions=s.coord, cell=s.cell, pbc=True)
    own, steps = served.copy(), []
    direct = served.copy()
    direct.calc = DPCalculator(pot)
    with SocketIOCalculator(unixsocket=name, timeout=120) as server:
        client = threading.Thread(target=lambda: steps.append(run_ipi_client(pot, own, unixsocket=name, timeout=120)))
        client.start()
        served.calc = server
        for _ in range(2):
            served.positions += 0.01 * np.sin(np.arange(33)).reshape(-1, 3)
            direct.positions = served.positions
            np.testing.assert_allclose(served.get_potential_energy(), direct.get_potential_energy(), atol=1e-9)
            np.testing.assert_allclose(served.get_forces(), direct.get_forces(), atol=1e-9)
            np.testing.assert_allclose(served.get_stress(), direct.get_stress(), atol=1e-9)
    client.join(120)
    assert steps == [2]
    np.testing.assert_allclose(own.positions, served.positions, atol=1e-12)


def test_no_server(pot):
    atoms = Atoms("OH", positions=[[0, 0, 0], [1, 0, 0]])
    with pytest.raises(DPError, match="no i-PI server answers at /tmp/ipi_nobody-listens"):
        run_ipi_client(pot, atoms, unixsocket="nobody-listens")
    with pytest.raises(DPError, match="one of them"):
        run_ipi_client(pot, atoms, unixsocket="name", port=31415)
