"""Files of a repository on the Hugging Face hub, fetched whole: each goes on where it was cut, each is compared with its hash.

Addresses, tokens, proxies and redirects are huggingface_hub's own (`HF_ENDPOINT`, `HF_TOKEN`, …). Its `snapshot_download` begins
a file again after every failure; ten gigabytes in one file want better, so the files are kept and continued here.
Nothing that answers a user imports this.
"""

import hashlib
import logging
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get  # pyright: ignore[reportUnknownVariableType]
from huggingface_hub.utils import (
    build_hf_headers,  # pyright: ignore[reportUnknownVariableType]
    disable_progress_bars,
)
from huggingface_hub.utils import logging as hub_logging

from edge_assistant.errors import FetchError

_IDLE_TRIES = 5
"""A file is given up after so many tries in a row that brought nothing."""
_CHUNK_BYTES = 1 << 16
"""huggingface_hub keeps what it reads in memory up to this, and loses it with the connection; its own 10 MB never arrive on a
poor line."""
_TOKEN = "set HF_TOKEN to a token that may read it"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the hub describes it."""

    name: str
    bytes: int
    hash: str
    """In hexadecimal: SHA-256 of a large file, git's SHA-1 of a small one."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit."""

    repository: str
    commit: str
    files: tuple[RemoteFile, ...]
    """Those that lie at the top."""


def listing(repository: str, revision: str | None = None) -> Listing:
    """What a repository holds. Raises FetchError."""
    api = HfApi(endpoint=constants.ENDPOINT, library_name="edge-assistant")
    with _clear(repository, revision):
        info = api.model_info(repository, revision=revision, files_metadata=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
    files = [
        RemoteFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else file.blob_id or "")
        for file in info.siblings or ()
        if "/" not in file.rfilename
    ]
    return Listing(repository, info.sha or "main", tuple(files))


def keep_listed(listing: Listing, folder: Path) -> None:
    """Remove from a folder of fetched files those that are not this commit's: an earlier try may have been of another one."""
    stamp, commit = folder.with_name(f".{folder.name}.commit"), listing.commit.encode()
    if stamp.exists() and stamp.read_bytes() == commit:
        return
    growing = {_partial(folder, file) for file in listing.files}
    files = {folder / file.name: file for file in listing.files}
    for path in {path for path in folder.iterdir() if path.is_file()} - growing:
        file = files.get(path)
        if file is None or _size(path) != file.bytes or _hash(path, file) != file.hash:
            path.unlink()
    stamp.write_bytes(commit)


def missing(listing: Listing, names: list[str], folder: Path) -> int:
    """Bytes that `download` would still fetch."""
    files = {file.name: file for file in listing.files}
    return sum(files[name].bytes - _size(folder / name) - _size(_partial(folder, files[name])) for name in names)


def download(listing: Listing, names: list[str], folder: Path, *, progress: bool) -> None:
    """These files, into a folder that exists. A file has its name only when it is whole.

    Raises FetchError; OSError when the disk is full or the folder cannot be written.
    """
    if not progress:
        disable_progress_bars()
    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
    hub_logging.set_verbosity_error()  # its warnings are our one line
    files = {file.name: file for file in listing.files}
    for name in names:
        if not (folder / name).exists():
            _download(listing, files[name], folder)


def _download(listing: Listing, file: RemoteFile, folder: Path) -> None:
    url = hf_hub_url(listing.repository, file.name, revision=listing.commit)
    headers = build_hf_headers(library_name="edge-assistant")
    partial = _partial(folder, file)
    if _size(partial) > file.bytes:
        partial.unlink()
    idle = 0
    while _size(partial) < file.bytes:
        before = _size(partial)
        with _clear(listing.repository, listing.commit), partial.open("ab") as out:
            try:
                http_get(url, out, resume_size=before, headers=headers, expected_size=file.bytes, displayed_filename=file.name)
            except HfHubHTTPError:
                raise
            except (httpx2.TransportError, OSError) as fault:
                if isinstance(fault, OSError) and fault.errno is not None:
                    raise  # the disk's, not the network's
                out.flush()
                idle = idle + 1 if _size(partial) <= before else 0
                if idle == _IDLE_TRIES:
                    raise
                _log.info("%s: %s; going on at %d bytes", file.name, fault, _size(partial))
                time.sleep(min(2**idle, 8))
    partial.touch()  # an empty file asks for nothing
    if _hash(partial, file) != file.hash:
        partial.unlink()  # to be fetched afresh, not continued
        raise FetchError(
            f"{file.name} of {listing.repository} arrived altered: its hash is not the hub's", "run the same command again"
        )
    partial.replace(folder / file.name)


def _partial(folder: Path, file: RemoteFile) -> Path:
    """Where a file grows; its hash in the name, so that another version is never continued with this one."""
    return folder / f".{file.name}.{file.hash[:16]}.part"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _hash(path: Path, file: RemoteFile) -> str:
    # git hashes "blob SIZE\0" and the content
    digest = hashlib.sha256() if len(file.hash) == 64 else hashlib.sha1(f"blob {file.bytes}\0".encode(), usedforsecurity=False)
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _clear(repository: str, revision: str | None) -> Generator[None]:
    """What the hub and the network can do to us, in one line with its mend."""
    page = f"{constants.ENDPOINT}/{repository}"
    try:
        yield
    except GatedRepoError:
        mend = f"accept its terms at {page}, then {_TOKEN}"
        raise FetchError(f"{repository} is gated: its owner gives it to those who accept the terms", mend) from None
    except RevisionNotFoundError:
        raise FetchError(f"{repository} has no revision {revision}", f"see which it has at {page}") from None
    except RepositoryNotFoundError:
        mend = f"check the name at {page}; if it is private or gated, {_TOKEN}"
        raise FetchError(f"there is no repository {repository} that we may read", mend) from None
    except HFValidationError:
        raise FetchError(f"{repository} is not the id of a repository", "give it as OWNER/NAME, or a folder") from None
    except OfflineModeIsEnabled:
        raise FetchError(
            f"{repository} cannot be fetched: HF_HUB_OFFLINE is set", "unset it, or name a folder with --from"
        ) from None
    except HfHubHTTPError as fault:
        raise _refused(repository, page, fault.response) from None
    except httpx2.HTTPError as fault:
        what = f"the hub at {constants.ENDPOINT} cannot be reached or broke off: {fault or type(fault).__name__}"
        raise FetchError(what, "see to the network and run the same command again: it goes on where it was") from None
    except OSError as fault:
        if fault.errno is not None:
            raise  # the disk's, not the hub's
        raise FetchError(f"a file of {repository} did not arrive whole", "run the same command again") from None


def _refused(repository: str, page: str, response: httpx2.Response) -> FetchError:
    match response.status_code:
        case 401:
            token = "the token in HF_TOKEN is not accepted" if os.environ.get("HF_TOKEN") else "a token is asked for"
            return FetchError(f"the hub refuses {repository}: {token}", _TOKEN)
        case 403:
            return FetchError(f"the hub forbids {repository}", f"see what it asks of you at {page}, then {_TOKEN}")
        case 404:
            return FetchError(f"a file of {repository} is not there", f"see what it holds at {page}")
        case 429:
            return FetchError(
                "the hub asks us to wait: too many requests", "run the same command again in some minutes, with HF_TOKEN set"
            )
        case code:
            return FetchError(f"the hub answers {code} for {repository}", "run the same command again later")
