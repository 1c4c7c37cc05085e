"""`edge-assistant models`: lists, fetches, builds, verifies and removes models."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_assistant.errors import BundleError, UsageError
from edge_assistant.verbs.export import add_adapter, add_drafter, add_making, making

if TYPE_CHECKING:
    from edge_assistant.gemma4.bundle import Bundle

HELP = "list, fetch, build, verify or remove models"
EXAMPLE = """\
examples:
  edge-assistant models list
  edge-assistant models fetch e2b
  edge-assistant talk --model e2b
"""

_LIST = "examples:\n  edge-assistant models list\n  edge-assistant models list --json\n"
_FETCH = """\
examples:
  edge-assistant models fetch e2b
  edge-assistant models fetch OWNER/REPOSITORY --name mine
  edge-assistant models fetch e2b --with-drafter
  edge-assistant models fetch e2b --from /media/stick

Nothing is lost when it is cut off or stopped: the same command goes on where it was.
HF_TOKEN holds the token for gated and private repositories, HF_ENDPOINT the address of another hub.
"""
_BUILD = """\
examples:
  edge-assistant models build ~/gemma-4-E2B-it --name e2b
  edge-assistant models build ~/gemma-4-E2B-it --name small --block 128 --tables 4
  edge-assistant models build ~/gemma-4-E2B-it --name tuned --adapter ~/my-lora
  edge-assistant models build ~/gemma-4-E2B-it --name e2b --drafter ~/gemma-4-E2B-it-assistant
"""
_VERIFY = "examples:\n  edge-assistant models verify\n  edge-assistant models verify e2b\n"
_PREPARE = """\
example: edge-assistant models prepare e2b

onnxruntime packs weights at every start, with E2B into 2 GB of memory that the system cannot take back. Packed once they are
mapped from files, and the system may drop what it needs room for. It takes disk, twice what the model's own weights take, and
changes no answer.
"""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_REMOVE = "example: edge-assistant models remove e2b\n"
_PATH = "example: du -sh $(edge-assistant models path e2b)\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, help: str, example: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(
            name,
            help=help,
            description=f"{help[0].upper()}{help[1:]}.",
            epilog=example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--json", action="store_true", help="for programs")
        return sub

    action("list", "what is here and what can be fetched", _LIST)
    fetch = action("fetch", "fetch a model from the hub or a folder, build it and verify it", _FETCH)
    fetch.add_argument("model", metavar="MODEL", help="e2b, e4b, e2b-qat, e4b-qat, or the id of a repository: OWNER/NAME")
    fetch.add_argument(
        "--from", dest="source", type=Path, metavar="FOLDER", help="take it from this folder or file, with no network"
    )
    fetch.add_argument("--revision", metavar="REVISION", help="branch, tag or commit of the model's repository (main)")
    fetch.add_argument("--keep", action="store_true", help="keep what was fetched too")
    build = action("build", "build a checkpoint folder into an installed model and verify it", _BUILD)
    build.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="folder with config.json and *.safetensors, or GGUF file"
    )
    add_adapter(build)
    drafter = fetch.add_mutually_exclusive_group()
    drafter.add_argument(
        "--with-drafter", action="store_true", help="fetch the assistant published with e2b or e4b too, which guesses tokens"
    )
    drafter.add_argument(
        "--drafter", metavar="FOLDER|OWNER/NAME", help="that assistant from this folder, or fetched from this repository"
    )
    add_drafter(build)
    for sub, default in ((fetch, "the model's name, or the repository's"), (build, "that of the folder or file")):
        sub.add_argument("--name", metavar="NAME", help=f"name to install it under ({default})")
        add_making(sub)
    verify = action("verify", "read every byte of a model: its hashes, and whether its numbers are finite", _VERIFY)
    verify.add_argument("names", nargs="*", metavar="NAME", help="name or folder (all that are here)")
    prepare = action("prepare", "pack a model's weights for this processor: less memory, for disk", _PREPARE)
    prepare.add_argument("name", metavar="NAME", help="name or folder")
    remove = action("remove", "remove an installed model, and what is left of unfinished tries", _REMOVE)
    remove.add_argument("name", metavar="NAME", help="its name")
    path = action("path", "the folder of a model", _PATH)
    path.add_argument("name", metavar="NAME", help="name or folder")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises an EdgeAssistantError of `edge_assistant.install`, or BundleError."""
    actions = {"list": _list, "fetch": _fetch, "build": _build, "verify": _verify, "prepare": _prepare}
    actions |= {"remove": _remove, "path": _path}
    actions[args.action](args)


def _list(args: argparse.Namespace) -> None:
    from edge_assistant.install import size  # noqa: PLC0415

    rows = _rows()
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        total = row["bytes"] or row["fetch_bytes"]
        drafter = f" with drafter {row['drafter']}" if row["drafter"] else ""
        print(f"{row['name']:<12} {row['state']:<14} {size(total) if total else '':>9}  {row['source']}{drafter}")
    if not any(row["state"] == "installed" for row in rows):
        print("edge-assistant: `edge-assistant advise` says which of them suits this machine", file=sys.stderr)


def _rows() -> list[dict[str, Any]]:
    from edge_assistant.family import FAMILY  # noqa: PLC0415
    from edge_assistant.gemma4.bundle import Bundle  # noqa: PLC0415
    from edge_assistant.gemma4.folder import unfinished  # noqa: PLC0415
    from edge_assistant.install import fetched  # noqa: PLC0415
    from edge_assistant.models import KNOWN, SHIPPED, find_model, installed, models_folder  # noqa: PLC0415

    rows: list[dict[str, Any]] = []
    to_fetch = {member.name: member.published_bytes() for member in FAMILY}

    def add(name: str, state: str, folder: Path | None, source: str, drafter: str | None = None) -> None:
        """Bytes of what is here, and, where it is known, of what is not."""
        files = [path for path in folder.rglob("*") if path.is_file()] if folder else []
        sizes = {"bytes": sum(path.stat().st_size for path in files), "fetch_bytes": None if folder else to_fetch.get(name)}
        rows.append({"name": name, "state": state, "folder": str(folder or ""), **sizes, "source": source, "drafter": drafter})

    here = installed()
    for state, names in (("shipped", list(SHIPPED)), ("installed", list(here))):
        for name in names:
            try:
                folder = find_model(name)
                bundle = Bundle.open(folder)
                source = "comes with the program" if state == "shipped" else bundle.manifest.source
                add(name, state, folder, source, _drafter_of(bundle))
            except BundleError as fault:
                add(name, "broken", here.get(name), str(fault))
    folder = models_folder()
    for name in sorted({path.name[1:].rpartition(".")[0] for path in folder.glob(".*.*")} - set(here)):
        for part in (fetched(folder / name), unfinished(folder / name)):
            if part.is_dir():
                add(name, "unfinished", part, "run the same command again to go on, or remove it")
    for name, repository in KNOWN.items():
        if name not in {row["name"] for row in rows}:
            add(name, "can be fetched", None, repository)
    return rows


def _fetch(args: argparse.Namespace) -> None:
    from edge_assistant.install import fetch, take  # noqa: PLC0415

    name = args.name or args.model.rpartition("/")[2]
    if args.source is not None:
        if args.revision:
            raise UsageError("--revision has no meaning with --from", "leave one of them out")
        if args.with_drafter:
            raise UsageError("--with-drafter fetches, and --from means no network", "name the drafter's folder with --drafter")
        drafter = None if args.drafter is None else Path(args.drafter).expanduser()
        _tell(args, name, take(args.source, name, making(args), drafter))
    else:
        bundle = fetch(args.model, name, making(args), revision=args.revision, keep=args.keep, drafter=_drafter(args))
        _tell(args, name, bundle)


def _drafter(args: argparse.Namespace) -> Path | str | None:
    """The drafter's folder, or the repository to fetch it from. Raises UsageError."""
    from edge_assistant.models import DRAFTERS, KNOWN  # noqa: PLC0415

    if args.with_drafter:
        repository = KNOWN.get(args.model, args.model)
        if repository not in DRAFTERS:
            raise UsageError(f"no drafter of {args.model} is known", "name its repository or folder: --drafter OWNER/NAME")
        return DRAFTERS[repository]
    if args.drafter is None:
        return None
    folder = Path(args.drafter).expanduser()
    return args.drafter if _REPOSITORY.fullmatch(args.drafter) and not folder.exists() else folder


def _build(args: argparse.Namespace) -> None:
    from edge_assistant.install import build  # noqa: PLC0415

    path = args.checkpoint.expanduser().resolve()
    name = args.name or (path.name if path.is_dir() else path.stem)
    _tell(args, name, build(args.checkpoint.expanduser(), name, making(args), args.adapter, args.drafter))


def _tell(args: argparse.Namespace, name: str, bundle: "Bundle") -> None:
    if args.json:
        print(json.dumps(_about(name, bundle)))
        return
    print(bundle.folder)
    more = "; until then its drafter is off" if bundle.drafter else ""
    print(f"edge-assistant: `edge-assistant tune {name}` measures how it runs best on this machine{more}", file=sys.stderr)


def _drafter_of(bundle: "Bundle") -> str | None:
    return bundle.manifest.drafter.source if bundle.manifest.drafter else None


def _about(name: str, bundle: "Bundle") -> dict[str, Any]:
    total = sum(entry.bytes for entry in bundle.manifest.files.values())
    return {
        "name": name,
        "folder": str(bundle.folder),
        "bytes": total,
        "files": len(bundle.manifest.files),
        "source": bundle.manifest.source,
        "drafter": _drafter_of(bundle),
        "identity": bundle.identity,
    }


def _verify(args: argparse.Namespace) -> None:
    from edge_assistant.gemma4.bundle import Bundle  # noqa: PLC0415
    from edge_assistant.gemma4.finite import check_finite  # noqa: PLC0415
    from edge_assistant.install import size  # noqa: PLC0415
    from edge_assistant.models import SHIPPED, find_model, installed  # noqa: PLC0415

    results: list[dict[str, Any]] = []
    first: BundleError | None = None
    for name in args.names or [*SHIPPED, *installed()]:
        try:
            bundle = Bundle.open(find_model(name))
            bundle.verify()
            check_finite(bundle)
        except BundleError as fault:
            first = first or fault
            results.append({"name": name, "whole": False, "fault": str(fault)})
        else:
            results.append({**_about(name, bundle), "whole": True})
    if args.json:
        print(json.dumps(results, indent=1))
    else:
        for result in results:
            if result["whole"]:
                print(f"{result['name']}: whole, {result['files']} files, {size(result['bytes'])}")
            elif len(results) > 1:  # of several that are not, the line on stderr tells of one
                print(f"{result['name']}: {result['fault']}")
    if first:
        raise first


def _prepare(args: argparse.Namespace) -> None:
    from edge_assistant.install import pack  # noqa: PLC0415

    folder = pack(args.name)
    total = sum(path.stat().st_size for path in folder.iterdir())
    print(json.dumps({"name": args.name, "folder": str(folder), "bytes": total}) if args.json else folder)


def _remove(args: argparse.Namespace) -> None:
    from edge_assistant.install import remove  # noqa: PLC0415

    gone = [str(folder) for folder in remove(args.name)]
    print(json.dumps(gone) if args.json else "\n".join(gone))


def _path(args: argparse.Namespace) -> None:
    from edge_assistant.models import find_model  # noqa: PLC0415

    folder = find_model(args.name)
    print(json.dumps({"name": args.name, "folder": str(folder)}) if args.json else folder)
