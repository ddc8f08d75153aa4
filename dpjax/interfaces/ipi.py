"""A potential as the force engine of i-PI, or of any other program that speaks its protocol, through ASE's socket client."""

from __future__ import annotations

import logging
import os
from typing import Any

from dpjax.errors import DPError
from dpjax.interfaces.ase import DPCalculator
from dpjax.interfaces.potential import Potential
from dpjax.models import require_derived, require_no_spins

from ase import Atoms  # isort: skip  after the module that says what to do where ASE is missing
from ase.calculators.socketio import SocketClient  # isort: skip

log = logging.getLogger(__name__)

PORT = 31415  # the default of i-PI


def run_ipi_client(
    model: Potential | str | os.PathLike,
    atoms: Atoms,
    *,
    host: str = "localhost",
    port: int | None = None,
    unixsocket: str | None = None,
    timeout: float | None = None,
    **options: Any,
) -> int:
    """Connects to a server and gives energy, forces and virial of the positions it sends, until it says that it is done.

    Args:
        model: a potential, or what :func:`dpjax.load` takes.
        atoms: elements in the server's order, and directions in which the cell repeats; afterwards its positions and cell are
            those of the last step.  Without such directions the virial is zero.
        host, port: of the server; port 31415 by default.
        unixsocket: name of a socket in place of host and port, ``NAME`` for ``/tmp/ipi_NAME``.
        timeout: seconds to wait for a message; None: any time.
        options: of :class:`dpjax.interfaces.ase.DPCalculator`.

    Returns:
        Number of steps that were computed.

    Raises:
        DPError: no server listens there, or both ways to name it are given.
        ModelError: the model has no virials, because it gives its forces directly.
    """
    if unixsocket is not None and port is not None:
        raise DPError("port and unixsocket are both given; a server listens on one of them")
    calculator = DPCalculator(
        model, **options
    )  # before the connection: a server need not wait for a model that is not there
    require_derived(calculator.potential.config, "i-PI, which asks for virials")
    require_no_spins(calculator.potential.config, "i-PI, which has no spins")
    port = PORT if port is None else port
    where = f"/tmp/ipi_{unixsocket}" if unixsocket else f"{host}:{port}"
    try:
        client = SocketClient(host=host, port=port, unixsocket=unixsocket, timeout=timeout)
    except OSError as error:
        raise DPError(f"no i-PI server answers at {where} ({error}); start it before the client") from error
    log.info("connected to %s", where)
    atoms.calc = calculator
    steps = sum(1 for _ in client.irun(atoms))
    log.info("the server ended the connection after %d steps", steps)
    return steps
