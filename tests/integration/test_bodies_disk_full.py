"""The folder of temporary files is full: a clear answer and a clear message, and nothing stays behind."""
import os
import re
import subprocess

import pytest

from tools import http, paths, wait
from tools.httpd import PHP, event_sizes

MIB = 1 << 20
DISK = 2 * MIB


@pytest.fixture(scope="module")
def disk(module_tmp):
    """A file system of 2 MiB."""
    folder = module_tmp / "disk"
    folder.mkdir()
    r = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=1777", "tmpfs", folder], capture_output=True, text=True)
    if r.returncode != 0:
        pytest.skip(f"mount -t tmpfs is not allowed here: {r.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="module")
def site(disk, module_httpd, module_php_fpm):
    fpm = module_php_fpm(2).start()
    h = module_httpd(f"DemoBackend {fpm.url}\n{PHP}", docroot=fpm.docroot,
                     env={"TMPDIR": str(disk)}, mpm_config=event_sizes(8, children=2, workers=8))
    h.fpm = fpm
    return h.start()


def used(disk) -> int:
    s = os.statvfs(disk)
    return (s.f_blocks - s.f_bfree) * s.f_frsize


def spools(site) -> list[str]:
    """Temporary files that httpd still holds."""
    held = []
    for p in site.pids():
        for fd in os.listdir(f"/proc/{p}/fd"):
            try:
                held.append(os.readlink(f"/proc/{p}/fd/{fd}"))
            except OSError:
                pass
    return [f for f in held if re.search(r"mod_demo\.\w+ \(deleted\)", f)]


def upload(site, how, n):
    if how == "plain":
        return http.post(site, "/upload.php", b"x" * n)
    return http.post_chunked(site, "/upload.php", [b"x" * MIB] * (n // MIB))


@pytest.mark.parametrize("how", ["plain", "chunked"])
def test_request_body(site, disk, how):
    site.error_log.claim(rf"No space left on device.*DM1034: no space left in {re.escape(str(disk))} \(TMPDIR\)", count=1)
    r = upload(site, how, 4 * MIB)
    assert r.status == 507
    wait.until(lambda: used(disk) == 0 and not spools(site), 5, "the disk to be empty again")
    assert upload(site, how, MIB).json()["length"] == MIB
    wait.until(lambda: [x for x in site.access_log() if " 507 " in x and "error=spool: no space left" in x], 5, "the access log")


def test_answer_goes_on_at_the_client_s_pace(site, disk):
    """Not a byte of it is lost, though its file took a part of it."""
    site.error_log.claim(rf"No space left on device.*DM1051: .* {re.escape(str(disk))} ", count=1)
    with http.Connection(site.port, rcvbuf=4096) as c:
        c.request("GET", f"/download.php?bytes={16 * MIB}&length=1")
        wait.until(lambda: site.error_log.grep("DM1051"), 10, "the note that the disk is full")
        assert http.get(site, "/status.php").status == 200
        body = c.read().body
    assert body == bytes(range(256)) * (16 * MIB // 256)
    wait.until(lambda: used(disk) == 0 and not spools(site), 5, "the disk to be empty again")


def test_full_disk_leaves_small_requests_alone(site, disk):
    filler = disk / "filler"
    with pytest.raises(OSError):
        with open(filler, "wb", buffering=0) as f:
            while True:
                f.write(b"x" * 65536)
    try:
        assert http.post(site, "/upload.php", b"x" * 60000).json()["length"] == 60000
        site.error_log.claim("DM1034", count=1)
        assert http.post(site, "/upload.php", b"x" * 70000).status == 507
        r = http.get(site, f"/download.php?bytes={4 * MIB}")       # a fast client needs no file
        assert len(r.body) == 4 * MIB
        site.error_log.claim("DM1051", optional=True)              # but where the machine is busy it may look slow
    finally:
        filler.unlink()


def test_folder_that_httpd_may_not_write(httpd, site, tmp):
    """It says so at its start, and takes another one."""
    if paths.unprivileged() is None:
        pytest.skip("needs root, to run httpd as somebody else")
    closed = tmp / "closed"
    closed.mkdir(mode=0o700)
    h = httpd(site.config, docroot=site.fpm.docroot, env={"TMPDIR": str(closed)}).start()
    h.error_log.claim(rf"Permission denied.*DM1035: TMPDIR={re.escape(str(closed))}: .* large bodies go to /")
    assert http.post(h, "/upload.php", b"x" * 70000).json()["length"] == 70000
