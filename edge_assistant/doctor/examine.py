"""All checks, in the order in which one depends on the other."""

import os
import shlex
from collections.abc import Iterator

from edge_assistant.config import ENVIRONMENT, Config, load
from edge_assistant.doctor.board import check_clock, check_disk, check_heat_and_supply, check_memory
from edge_assistant.doctor.finding import Finding, Patient, Verdict, fault, read_service
from edge_assistant.doctor.model import check_extras, check_model, check_speed, check_voice, model_bytes
from edge_assistant.doctor.offline import check_network, check_service, check_sockets
from edge_assistant.doctor.sound import check_loudspeaker, check_microphone, check_permissions
from edge_assistant.errors import ConfigError
from edge_assistant.machine import run_command


def examine(*, quick: bool = False) -> Iterator[Finding]:
    """Look at everything on this machine, as it is configured; what was found comes as soon as it is."""
    service = read_service(run_command)
    if service.get("LoadState") == "loaded" and os.geteuid() == 0:
        adopt(service.get("Environment", ""))
    config = Config()
    looked = "every file and variable that is read"
    try:
        loaded = load()
    except ConfigError as error:
        yield fault("configuration", looked, error)
    else:
        config = loaded.config
        files = ", ".join(map(str, loaded.files)) or "no file: the defaults hold"
        yield Finding("configuration", Verdict.WELL, looked, files)
    patient = Patient(config, run=run_command, service=service, quick=quick, own=frozenset({os.getpid()}))
    yield from check_permissions(patient)
    yield from check_microphone(patient)
    yield from check_voice(patient)
    yield from check_loudspeaker(patient)
    yield from check_model(patient)
    yield from check_extras(patient)
    yield from check_memory(patient, model_bytes(patient), running=bool(patient.service_pid))
    yield from check_disk(patient)
    yield from check_heat_and_supply(patient)
    yield from check_clock(patient)
    yield from check_service(patient)
    yield from check_speed(patient)
    yield from check_network(patient)
    yield from check_sockets(patient)  # the last: nothing that was loaded above may have opened one


def adopt(environment: str) -> None:
    """Look where the service looks: its folders, settings and sound server. `environment`: as systemd shows it."""
    for name, sign, value in (word.partition("=") for word in shlex.split(environment)):
        if sign and (name == "HOME" or name.startswith(("XDG_", "PULSE_", "ALSA_", ENVIRONMENT))):
            os.environ[name] = value
