import io
import os
import tarfile

from innervate_local.images import layer


def _trees(*trees):
    output = io.BytesIO()
    layer.from_trees(trees, output)
    return output.getvalue()


def _archived(archive, below=None):
    output = io.BytesIO()
    layer.from_archive(archive, output, below=below)
    output.seek(0)
    with tarfile.open(fileobj=output) as tar:
        return {
            member.name: (tar.extractfile(member).read() if member.isreg() else member.linkname)
            for member in tar
        }


def _rootfs(path, files, *, links=(), devices=()):
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size, entry.mtime = len(content), 12345
            tar.addfile(entry, io.BytesIO(content))
        for name, target in links:
            entry = tarfile.TarInfo(f"./{name}")
            entry.type, entry.linkname = tarfile.LNKTYPE, f"./{target}"
            tar.addfile(entry)
        for name in devices:
            entry = tarfile.TarInfo(f"./{name}")
            entry.type = tarfile.CHRTYPE
            tar.addfile(entry)
    return path


def test_a_tree_gives_the_same_bytes_whatever_its_times_and_order_of_making(tmp_path):
    for name, order in (("one", "abc"), ("two", "cba")):
        for letter in order:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / letter).write_text(letter)
    os.utime(tmp_path / "two" / "a", (1, 1))
    (tmp_path / "two" / "b").chmod(0o600)
    assert _trees((tmp_path / "one", "/opt/x")) == _trees((tmp_path / "two", "/opt/x"))


def test_a_tree_is_owned_by_root_and_readable_by_everyone(tmp_path):
    program = tmp_path / "in" / "run"
    program.parent.mkdir()
    program.write_text("x")
    program.chmod(0o700)
    with tarfile.open(fileobj=io.BytesIO(_trees((program.parent, "/opt/x")))) as tar:
        entries = {member.name: member for member in tar}
    assert list(entries) == ["opt", "opt/x", "opt/x/run"]
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries.values()} == {(0, 0, layer.EPOCH)}
    assert {entry.mode for entry in entries.values()} == {0o755}


def test_a_layer_holds_what_differs_from_the_one_below(tmp_path):
    below = _rootfs(tmp_path / "below.tar", {"same": b"s", "changed": b"1", "gone/a": b"a", "gone/b": b"b"})
    above = _rootfs(tmp_path / "above.tar", {"same": b"s", "changed": b"2", "new": b"n"})
    found = _archived(above, below)
    assert found == {"changed": b"2", "new": b"n", "gone/.wh.a": b"", "gone/.wh.b": b""}


def test_a_hard_link_is_written_with_its_content(tmp_path):
    archive = _rootfs(
        tmp_path / "a.tar", {"usr/bin/perl": b"program"}, links=[("usr/bin/perl5", "usr/bin/perl")]
    )
    assert _archived(archive) == {"usr/bin/perl": b"program", "usr/bin/perl5": b"program"}


def test_what_the_container_runtime_mounts_is_left_out(tmp_path):
    archive = _rootfs(tmp_path / "a.tar", {"etc/x": b"x", "run/lock": b""}, devices=["dev/null"])
    assert _archived(archive) == {"etc/x": b"x"}
