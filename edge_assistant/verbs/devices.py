"""`edge-assistant devices`: the microphones and loudspeakers that were found, and which would be used."""

import argparse
import json
import sys

HELP = "list microphones and loudspeakers"
EXAMPLE = """\
examples:
  edge-assistant devices
  edge-assistant devices --json | jq -r '.microphones[].name'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument("--json", action="store_true", help="one object on stdout")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises EdgeAssistantError."""
    from edge_assistant.devices import Device, Kind, choose_device, find_devices  # noqa: PLC0415
    from edge_assistant.errors import DeviceError  # noqa: PLC0415
    from edge_assistant.verbs import configuration  # noqa: PLC0415

    settings = configuration(args).talk
    names = {"microphone": settings.microphone, "loudspeaker": settings.loudspeaker}

    def used(kind: Kind) -> tuple[str, str]:
        """The name of what is configured, or the default, or why there is none."""
        try:
            return choose_device(kind, names[kind]).name, ""
        except DeviceError as error:
            return "", str(error)

    def spoken(device: Device) -> str:
        asked = f"{device.rate_hz / 1000:g} kHz, {'mono' if device.channels == 1 else 'stereo'}" if device.rate_hz else ""
        return "  ".join(part for part in (device.name, device.description or asked) if part)

    kinds: tuple[Kind, ...] = ("microphone", "loudspeaker")
    found = {kind: ([device for device in find_devices(kind) if device.real], *used(kind)) for kind in kinds}
    if args.json:
        listed = {
            f"{kind}s": [
                {"name": device.name, "description": device.description, "used": device.name == default} for device in devices
            ]
            for kind, (devices, default, _) in found.items()
        }
        chosen = {kind: default or None for kind, (_, default, _) in found.items()}
        problems = [problem for _, _, problem in found.values() if problem]
        json.dump({**listed, "used": chosen, "problems": problems}, sys.stdout)
        print()
        return
    for kind, (devices, default, problem) in found.items():
        print(f"{kind}s (* would be used)")
        listed = {device.name for device in devices}
        for device in devices:
            print(f"  {'*' if device.name == default else ' '} {spoken(device)}")
        if default and default not in listed:
            print(f"  * {default}  what ALSA's configuration says")
        if problem:
            print(f"    {problem}")
