"""A state outlives kills, power cuts, full disks and damaged blocks; at most the last change is lost."""

import errno
import itertools
import json
import os
import signal
import threading
from pathlib import Path

import pytest

from edge_assistant import places, state
from edge_assistant.errors import StorageError
from edge_assistant.state import DirectKeeper, Keeper, StateFile

CALLS = ("open", "write", "fsync", "close", "replace", "makedirs")


class Proxy:
    """`os`, with something that happens before the call of a number."""

    def __init__(self, number, happen):
        self._left, self._happen = number, happen

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*args, **more):
            self._left -= 1
            if self._left == 0:
                self._happen(name, *args)
            return real(*args, **more)

        return call


def steps_of_a_save(tmp_path, monkeypatch):
    """Calls of the system that one save takes."""
    file = StateFile(tmp_path / "count" / "state")
    file.save(0)
    proxy = Proxy(0, None)
    monkeypatch.setattr(state, "os", proxy)
    file.save(1)
    monkeypatch.setattr(state, "os", os)
    return -proxy._left


def test_what_was_saved_is_loaded(tmp_path):
    file = StateFile(tmp_path / "folder" / "state")
    assert file.load() is None
    for value in ({"timers": [1, "zwölf", None]}, [], "text", 7.5):
        file.save(value)
        assert StateFile(tmp_path / "folder" / "state").load() == value
    assert (tmp_path / "folder").stat().st_mode & 0o077 == 0


def test_a_kill_at_any_step_costs_at_most_the_last_change(tmp_path, monkeypatch):
    steps = steps_of_a_save(tmp_path, monkeypatch)
    assert steps >= 8
    seen = set()
    for step, torn in itertools.product(range(1, steps + 2), (False, True)):
        path = tmp_path / f"{step}{torn}" / "state"
        file = StateFile(path)
        file.save("before")
        file.save("old")
        child = os.fork()
        if child == 0:

            def die(name, *args, torn=torn):
                if name == "write" and torn:
                    os.write(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)

            state.os = Proxy(step, die)
            file.save("new")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert (status == 0) == (step > steps)
        after = StateFile(path)
        found = after.load()
        assert found in ("old", "new")
        assert found == "new" or step <= steps
        seen.add(found)
        after.save("later")  # and it goes on
        assert StateFile(path).load() == "later"
    assert seen == {"old", "new"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_an_error_at_any_step_is_told_and_what_stood_stands(tmp_path, monkeypatch, code):
    steps = steps_of_a_save(tmp_path, monkeypatch)
    for step in range(1, steps + 1):
        path = tmp_path / f"{step}" / "state"
        file = StateFile(path)
        file.save("old")

        def fail(name, *args):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(state, "os", Proxy(step, fail))
        with pytest.raises(StorageError, match="cannot keep") as told:
            file.save("new")
        assert told.value.mend
        monkeypatch.setattr(state, "os", os)
        assert StateFile(path).load() in ("old", "new")
        file.save("later")
        assert StateFile(path).load() == "later"


class Disk:
    """A disk whose power may be cut: names change in order, but only a sync makes sure that they did; what was written and not
    synced may be there, in part, or not."""

    def __init__(self):
        self.files, self.open_files = {}, {}
        self.names = [{}]
        """What the folder may hold after a cut: the last is what it holds now."""

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, path, flags, mode=0):
        path = str(path)
        fd = len(self.open_files) + 100
        if flags & os.O_CREAT:
            number = len(self.files)
            self.files[number] = {"now": b"", "sure": None}
            self.names.append({**self.names[-1], path: number})
            self.open_files[fd] = [number, 0]
        elif flags & os.O_DIRECTORY:
            self.open_files[fd] = ["folder", 0]
        else:
            if path not in self.names[-1]:
                raise FileNotFoundError(path)
            self.open_files[fd] = [self.names[-1][path], 0]
        return fd

    def write(self, fd, data):
        self.files[self.open_files[fd][0]]["now"] += data[:100]
        return len(data[:100])

    def read(self, fd, _size):
        number, at = self.open_files[fd]
        self.open_files[fd][1] = 1 << 20
        return self.files[number]["now"][at:]

    def fsync(self, fd):
        number = self.open_files[fd][0]
        if number == "folder":
            self.names = self.names[-1:]
        else:
            self.files[number]["sure"] = self.files[number]["now"]

    def close(self, fd):
        pass

    def replace(self, source, target):
        source, target = str(source), str(target)
        names = dict(self.names[-1])
        if source not in names:
            raise FileNotFoundError(source)
        names[target] = names.pop(source)
        self.names.append(names)

    def after_a_cut(self):
        """Every disk that may be found then."""
        for names in self.names:
            for part in (0.0, 0.5, 1.0):
                disk = Disk()
                disk.names = [dict(names)]
                for number, file in self.files.items():
                    kept = file["sure"] if file["sure"] is not None else file["now"][: int(len(file["now"]) * part)]
                    disk.files[number] = {"now": kept, "sure": kept}
                yield disk


def test_a_power_cut_at_any_step_costs_at_most_the_last_change(tmp_path, monkeypatch):
    class Cut(BaseException):
        pass

    path = tmp_path / "state"
    found = set()
    for step in range(1, 40):
        disk = Disk()
        monkeypatch.setattr(state, "os", disk)
        file = StateFile(path)
        for value in range(3):
            file.save(value)
        left = [step]

        def counted(call, left=left):
            def one(*args):
                left[0] -= 1
                if left[0] == 0:
                    raise Cut
                return call(*args)

            return one

        for name in ("open", "write", "fsync", "replace"):
            setattr(disk, name, counted(getattr(disk, name)))
        try:
            file.save(3)
            done = True
        except Cut:
            done = False
        for after in disk.after_a_cut():
            monkeypatch.setattr(state, "os", after)
            value = StateFile(path).load()
            assert value == 3 if done else value in (2, 3), (step, value)
            found.add(value)
        if done:
            break
    assert done
    assert found == {2, 3}


def test_a_damaged_file_costs_the_last_change(tmp_path, caplog):
    for damage in (b"", b"{}", b"\x00" * 200, b"[1]", b'{"number": 9, "sha256": "x", "value": "1"}', b"\xff\xfe"):
        file = StateFile(tmp_path / "state")
        file.save("one")
        file.save("two")
        (tmp_path / "state").write_bytes(damage)
        assert StateFile(tmp_path / "state").load() == "one"
        assert "damaged" in caplog.text
        caplog.clear()
    sealed = json.loads((tmp_path / "state.old").read_text())
    (tmp_path / "state.old").write_text(json.dumps(sealed | {"value": '"three"'}))
    assert StateFile(tmp_path / "state").load() is None  # better none than a false one


def test_one_process_owns_it(tmp_path):
    file, other = StateFile(tmp_path / "state"), StateFile(tmp_path / "state")
    assert file.claim()
    assert not other.claim()
    file.release()
    assert other.claim()
    other.release()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    file = StateFile(tmp_path / "file" / "state")
    for attempt in (file.claim, lambda: file.save(1)):
        with pytest.raises(StorageError, match="cannot keep"):
            attempt()
    assert file.load() is None


def test_a_keeper_writes_the_newest_and_says_if_it_could(tmp_path):
    with Keeper(StateFile(tmp_path / "folder" / "state")) as keeper:
        assert keeper.settled()
        for value in range(50):
            keeper.keep(value)
        assert keeper.settled()
        assert StateFile(tmp_path / "folder" / "state").load() == 49
        keeper.keep(50)
    assert StateFile(tmp_path / "folder" / "state").load() == 50  # it writes what waits before it ends
    (tmp_path / "no").write_text("")
    broken = StateFile(tmp_path / "no" / "state")
    with Keeper(broken) as keeper:
        keeper.keep(1)
        assert not keeper.settled()
    keeper = DirectKeeper(broken)
    keeper.keep(1)
    assert not keeper.settled()


def test_a_slow_card_holds_nobody_up(tmp_path, monkeypatch):
    release = threading.Event()
    file = StateFile(tmp_path / "state")
    save = file.save
    monkeypatch.setattr(file, "save", lambda value: (release.wait(5), save(value)))
    with Keeper(file) as keeper:
        for value in range(1000):
            keeper.keep(value)  # returns though nothing is written
        assert StateFile(tmp_path / "state").load() is None
        release.set()
        assert keeper.settled()
        assert StateFile(tmp_path / "state").load() == 999


def test_where_it_is_kept(monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/edge-assistant:/var/lib/other")
    assert places.state_folder() == Path("/var/lib/edge-assistant")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert places.state_folder() == Path("/somewhere/edge-assistant")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert places.state_folder() == Path.home() / ".local" / "state" / "edge-assistant"
