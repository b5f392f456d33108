"""What is shipped: Debian packages, an archive, a container image.

Building them takes minutes and wants Debian: SLOW_TESTS=1 asks for that.  What can be told from the
sources is always looked at.
"""
import fnmatch
import glob
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import tarfile

import pytest

from harness import BINARY, ROOT, SANITIZED

SLOW = os.environ.get("SLOW_TESTS") == "1"
slow = pytest.mark.skipif(not SLOW, reason="NOT RUN: it builds everything anew, minutes: "
                                           "SLOW_TESTS=1 asks for it")
ARCHIVE = os.path.join(ROOT, "build/roots/bookworm.tar")
PACKAGES = ("process-supervisor", "deployctl")
STATIC = os.path.join(ROOT, "build/static/stripped")


def read(*names):
    with open(os.path.join(ROOT, *names), encoding="utf-8") as file:
        return file.read()


def clean():
    """An environment in which make knows nothing of the make that runs the tests."""
    return {name: value for name, value in os.environ.items()
            if name not in ("B", "CFLAGS", "LDFLAGS", "MFLAGS") and "MAKE" not in name}


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, env=clean(), cwd=ROOT, **more)
    assert done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout[-4000:]}" \
                                 f"{done.stderr[-4000:]}"
    return done.stdout


# --- from the sources ---

def test_the_changelog_is_of_this_version():
    first = read("debian", "changelog").split("\n")[0]
    assert re.fullmatch(r"process-supervisor \((\S+)\) unstable; urgency=\w+", first)
    assert re.search(r"\((\S+)\)", first).group(1) == read("VERSION").strip()


def test_every_library_is_among_the_build_dependencies():
    named = re.search(r"^PACKAGES_BUILD := ((?:.*\\\n)*.*)", read("Makefile"), re.M).group(1)
    wanted = set(named.replace("\\\n", " ").split()) - {"gcc", "libc6-dev", "make"}
    fields = re.search(r"^Build-Depends:(.*(?:\n .*)*)", read("debian", "control"), re.M).group(1)
    assert wanted <= {part.split()[0] for part in fields.split(",")}


@pytest.mark.skipif(SANITIZED, reason="another build is installed in the same way")
def test_every_installed_file_is_in_exactly_one_package(tmp_path):
    build = os.path.dirname(os.path.dirname(BINARY))
    run("make", "-s", f"B={os.path.relpath(build, ROOT)}", f"DESTDIR={tmp_path}", "prefix=/usr",
        "sysconfdir=/etc", "install")
    installed = []
    for folder, _, names in os.walk(tmp_path):
        installed += [os.path.relpath(os.path.join(folder, name), tmp_path) for name in names]
    wanted = {package: read("debian", f"{package}.install").split() for package in PACKAGES}
    for path in installed:
        path = path.replace("zsh/site-functions", "zsh/vendor-completions")
        owners = [package for package, patterns in wanted.items()
                  for pattern in patterns
                  if fnmatch.fnmatch(path, pattern) or path.startswith(pattern + "/")]
        assert len(owners) == 1, f"{path} is in {owners or 'no package'}"
    assert len(installed) >= 14


def test_scripts_are_sound_and_purge_leaves_nothing():
    for path in sorted(glob.glob(os.path.join(ROOT, "debian", "process-supervisor.*"))):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if text.startswith("#!/bin/sh"):
            run("sh", "-n", path)
        if path.endswith(("inst", "rm")):
            assert "#DEBHELPER#" in text and "set -e" in text
    purge = read("debian", "process-supervisor.postrm")
    for folder in ("/etc/supervisor", "/var/lib/supervisor", "/var/log/supervisor"):
        assert folder in purge
    for path in ("tools/deb", "tools/tarball", "debian/rules"):
        assert os.stat(os.path.join(ROOT, path)).st_mode & stat.S_IXUSR


def test_the_unit_is_understood_by_systemd(tmp_path):
    unit = read("examples", "ssh", "supervisor.service")
    for line in ("Type=notify", "KillMode=process", "ExitType=cgroup", "Delegate=yes"):
        assert line + "\n" in unit
    if not shutil.which("systemd-analyze"):
        pytest.skip("NOT RUN: systemd-analyze is not here (the rest of it was)")
    path = tmp_path / "supervisor.service"
    path.write_text(unit.replace("/usr/local/sbin/supervisor", BINARY)
                    .replace("Documentation=man:supervisor(8)\n", ""))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
    said = [line for line in done.stderr.split("\n") if "supervisor.service" in line]
    assert said == [], done.stderr


def make_image(folder, programs, epoch="1700000000"):
    done = subprocess.run([os.path.join(ROOT, "tools/image"), folder, *programs], text=True,
                          capture_output=True, env=dict(clean(), SOURCE_DATE_EPOCH=epoch))
    assert done.returncode == 0, done.stderr
    return folder


def files_of(folder):
    """{path: content} below it."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(at, name), "rb") as file:
                found[os.path.relpath(os.path.join(at, name), folder)] = file.read()
    return found


def blob(files, descriptor):
    data = files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
    assert len(data) == descriptor["size"]
    assert "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"]
    return data


def test_the_image_is_whole_and_the_same_each_time(tmp_path):
    programs = [str(tmp_path / "supervisor"), str(tmp_path / "deployctl")]
    for program in programs:
        with open(program, "wb") as file:
            file.write(os.urandom(100000))
    files = files_of(make_image(str(tmp_path / "one"), programs))
    assert files == files_of(make_image(str(tmp_path / "two"), programs))
    assert files != files_of(make_image(str(tmp_path / "three"), programs, "1700000001"))
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files["index.json"])
    manifest = json.loads(blob(files, index["manifests"][0]))
    config = json.loads(blob(files, manifest["config"]))
    layer = gzip.decompress(blob(files, manifest["layers"][0]))
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    assert config["config"]["Entrypoint"] == ["/usr/local/sbin/supervisor"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        members = tar.getmembers()
        for member in members:
            assert (member.uid, member.gid, member.mtime) == (0, 0, 1700000000)
        names = [member.name for member in members]
        assert names == sorted(names)
        assert tar.getmember("tmp").mode == 0o1777
        with open(programs[0], "rb") as file:
            assert tar.extractfile("usr/local/sbin/supervisor").read() == file.read()
    done = subprocess.run([os.path.join(ROOT, "tools/image"), str(tmp_path / "x"), "/bin/sh"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "/bin/sh" in done.stderr and not (tmp_path / "x").exists()


# --- built ---

@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    """Built twice, in different folders."""
    for program in ("dpkg-buildpackage", "dh", "lintian"):
        if not shutil.which(program):
            pytest.skip(f"NOT RUN: {program} is not installed (make deb installs it)")
    folders = [str(tmp_path_factory.mktemp(name)) for name in ("one", "another-place")]
    for folder in folders:
        subprocess.run([os.path.join(ROOT, "tools/deb"), folder], check=True, cwd=ROOT,
                       stdout=subprocess.DEVNULL,
                       env=dict(clean(), DEB_BUILD_OPTIONS="nocheck", JOBS="2"))
    return folders


@slow
def test_two_builds_are_the_same_bits(debs):
    first, second = ({name: data for name, data in files_of(folder).items()
                      if name.endswith(".deb")} for folder in debs)
    assert len(first) == 4 and sorted(first) == sorted(second)
    for name, data in first.items():
        assert data == second[name], name


@slow
def test_lintian_has_nothing_to_say(debs):
    changes = glob.glob(os.path.join(debs[0], "*.changes"))
    done = subprocess.run(["lintian", "--allow-root", "--display-info", *changes],
                          capture_output=True, text=True)
    assert done.returncode == 0
    assert [line for line in done.stdout.split("\n") if line[:2] in ("E:", "W:", "I:")] == []


@slow
def test_conffiles_and_dependencies(debs):
    deb = glob.glob(os.path.join(debs[0], "process-supervisor_*.deb"))[0]
    assert set(run("dpkg-deb", "-I", deb, "conffiles").split()) == {
        "/etc/init.d/supervisor", "/etc/logrotate.d/supervisor", "/etc/supervisor/supervisor.ini",
        "/etc/supervisor/supervisor.ini.sample"}
    depends = run("dpkg-deb", "-f", deb, "Depends")
    assert re.fullmatch(r"libc6 \(>= \S+\)", depends.strip())


def debian_root(folder):
    """A small Debian in `folder`; made once, kept as an archive."""
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: only root can make a root")
    if not os.path.exists(ARCHIVE):
        if not shutil.which("debootstrap"):
            pytest.skip("NOT RUN: debootstrap is not installed")
        os.makedirs(os.path.dirname(ARCHIVE), exist_ok=True)
        made = os.path.join(folder, "made")
        run("debootstrap", "--variant=minbase", "--include=libssl3", "bookworm", made)
        run("tar", "-C", made, "-cf", ARCHIVE + ".new", ".")
        os.rename(ARCHIVE + ".new", ARCHIVE)
        shutil.rmtree(made)
    root = os.path.join(folder, "root")
    os.makedirs(root)
    run("tar", "-C", root, "-xf", ARCHIVE)
    return root


# Namespaces of its own, so that nothing is left of it whatever happens.
ENTER = """set -e
mount -t proc proc "$0/proc"
mount -t tmpfs -o mode=755 tmpfs "$0/run"
for f in null zero random urandom; do
    touch "$0/dev/$f" 2>/dev/null || true
    mount --bind "/dev/$f" "$0/dev/$f"
done
exec chroot "$0" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C NO_COLOR=1 \
    DEBIAN_FRONTEND=noninteractive sh "$1"
"""

STORY = """
pid() { supervisor status --json "$1" | sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p' | tail -n 1; }
guardian() { supervisor status | sed -n 's/.*, pid \\([0-9]*\\), up.*/\\1/p'; }
everything() {
    find / -xdev \\( -path /proc -o -path /run -o -path /dev -o -path /tmp -o -path /debs \\
        -o -path /var/lib/dpkg -o -path /var/log/dpkg.log -o -path /var/cache \\
        -o -path /var/log/alternatives.log \\) -prune -o -print | sort
}
# As where there is an init: without one nothing is started or stopped.
printf '#!/bin/sh\\nexit 0\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
everything >/tmp/before
echo "=== install"
dpkg -i /debs/process-supervisor_*_*.deb /debs/deployctl_*_*.deb >/tmp/said 2>&1 || cat /tmp/said
supervisor version; deployctl version
supervisor status >/dev/null; echo "status $?"
cat >/etc/supervisor/conf.d/web.ini <<'END'
[service:web]
command = sleep 100000
startsecs = 0
END
echo "; mine" >>/etc/supervisor/supervisor.ini
/etc/init.d/supervisor reload; echo "reload $?"
supervisor start web
/etc/init.d/supervisor status; echo "status $?"
web=$(pid web)
echo "=== upgrade"
dpkg -i /debs/newer.deb >/tmp/said 2>&1 || cat /tmp/said
grep -o "upgraded: .*" /tmp/said
[ "$(pid web)" = "$web" ] && echo "the same process"
readlink /proc/$(guardian)/exe
grep -c "; mine" /etc/supervisor/supervisor.ini
dpkg-query -W process-supervisor
echo "=== broken upgrade"
dpkg -i /debs/broken.deb >/tmp/said 2>&1 || cat /tmp/said
grep "the old version" /tmp/said
kill -0 "$web" && echo "the same process"
dpkg -i /debs/newer.deb >/tmp/said 2>&1 || cat /tmp/said
[ "$(pid web)" = "$web" ] && echo "the same process"
echo "=== remove"
dpkg -r process-supervisor deployctl >/tmp/said 2>&1 || cat /tmp/said
kill -0 "$web" 2>/dev/null || echo "stopped"
for p in /proc/[0-9]*/comm; do cat $p; done 2>/dev/null | grep -c supervisor
ls /etc/supervisor/conf.d
echo "=== purge"
dpkg -P process-supervisor >/tmp/said 2>&1 || cat /tmp/said
grep -i warning /tmp/said
everything >/tmp/after
diff /tmp/before /tmp/after
echo "=== end"
"""


def repack(deb, to, folder, version, program=None):
    """The same package as another version, perhaps with another program in it."""
    tree = os.path.join(folder, version)
    run("dpkg-deb", "-R", deb, tree)
    control = os.path.join(tree, "DEBIAN/control")
    with open(control, encoding="utf-8") as file:
        text = file.read()
    with open(control, "w", encoding="utf-8") as file:
        file.write(re.sub(r"^Version: .*", f"Version: {version}", text, flags=re.M))
    if program:
        with open(os.path.join(tree, "usr/sbin/supervisor"), "w", encoding="utf-8") as file:
            file.write(program)
    run("dpkg-deb", "-Zgzip", "-b", tree, to)


@slow
def test_the_life_of_the_packages_on_a_host(debs, tmp_path):
    """Installed, started by sysvinit's script, upgraded under a running service, removed, purged."""
    root = debian_root(str(tmp_path))
    os.mkdir(os.path.join(root, "debs"))
    for name in os.listdir(debs[0]):
        if name.endswith(".deb") and "dbgsym" not in name:
            shutil.copy(os.path.join(debs[0], name), os.path.join(root, "debs"))
    deb = glob.glob(os.path.join(debs[0], "process-supervisor_*.deb"))[0]
    version = read("VERSION").strip()
    repack(deb, os.path.join(root, "debs/newer.deb"), str(tmp_path), version + "+newer")
    repack(deb, os.path.join(root, "debs/broken.deb"), str(tmp_path), version + "+broken",
           '#!/bin/sh\n[ "$1" != self-test ] && exec /debs/supervisor "$@"\n')
    run("cp", str(tmp_path / f"{version}+newer/usr/sbin/supervisor"), os.path.join(root, "debs"))
    with open(os.path.join(root, "story"), "w", encoding="utf-8") as file:
        file.write(STORY)
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation",
                           "private", "sh", "-c", ENTER, root, "/story"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=300)
    said = dict(re.findall(r"^=== (.*)\n((?:(?!=== ).*\n)*)", done.stdout, re.M))
    whole = done.stdout + done.stderr
    assert "end" in said, whole
    assert f"supervisor {version}\n" in said["install"], whole
    assert "status 0\n" in said["install"] and "reload 0\n" in said["install"], whole
    assert re.search(r"is running.*\nstatus 0", said["install"]), whole
    assert re.search(r"upgraded: .* no service was touched", said["upgrade"]), whole
    assert said["upgrade"].count("the same process") == 1, whole
    assert f"\n/usr/sbin/supervisor\n1\nprocess-supervisor\t{version}+newer\n" \
        in said["upgrade"], whole
    assert said["broken upgrade"] == \
        "process-supervisor: the old version goes on; restart it when it suits you\n" \
        "the same process\nthe same process\n", whole
    assert said["remove"] == "stopped\n0\nweb.ini\n", whole
    assert said["purge"] == "", whole


@pytest.fixture(scope="module")
def stripped():
    run("make", "-j2", "stripped")
    return [os.path.join(STATIC, name) for name in ("supervisor", "deployctl")]


@slow
def test_the_archive_is_the_same_each_time_and_runs_from_anywhere(stripped, tmp_path):
    names = []
    for name in ("one", "two"):
        os.mkdir(tmp_path / name)
        names.append(run("tools/tarball", str(tmp_path / name), STATIC).strip())
    with open(names[0], "rb") as one, open(names[1], "rb") as two:
        assert one.read() == two.read()
    with tarfile.open(names[0]) as tar:
        found = {member.name: member for member in tar.getmembers()}
        assert "etc/supervisor/supervisor.ini" not in found, "it would overwrite somebody's"
        assert [name for name, member in found.items() if member.isdir()] == \
            ["etc/supervisor/conf.d"]
        assert all((member.uid, member.gid) == (0, 0) for member in found.values())
        tar.extractall(tmp_path / "root")
    done = run("unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]),
               f"--root={tmp_path}/root", "/usr/local/sbin/supervisor", "version")
    assert done.startswith("supervisor ")


@slow
def test_the_image_runs(stripped, tmp_path):
    """Unpacked by umoci, where there is one; run in namespaces of its own."""
    folder = make_image(str(tmp_path / "image"), stripped)
    root = str(tmp_path / "root")
    version = read("VERSION").strip()
    if shutil.which("umoci"):
        words = [] if os.geteuid() == 0 else ["--rootless"]
        run("umoci", "unpack", *words, "--image", f"{folder}:{version}", str(tmp_path / "bundle"))
        root = str(tmp_path / "bundle/rootfs")
    else:
        files = files_of(folder)
        manifest = json.loads(blob(files, json.loads(files["index.json"])["manifests"][0]))
        with tarfile.open(fileobj=io.BytesIO(blob(files, manifest["layers"][0]))) as tar:
            tar.extractall(root)
    if shutil.which("skopeo"):
        about = json.loads(run("skopeo", "inspect", f"oci:{folder}:{version}"))
        assert about["Labels"]["org.opencontainers.image.version"] == version
    words = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(["unshare", *words, "--pid", "--fork", "--kill-child", f"--root={root}",
                           "/usr/local/sbin/supervisor", "run", "--", "/usr/local/bin/deployctl",
                           "version"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == f"deployctl {version}\n", done.stderr
