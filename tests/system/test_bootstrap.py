"""deployctl bootstrap and hosts, with an ssh that is a shell in a root of its own.

The host's /usr is this machine's, its /etc, /usr/local, /srv, /home, /run are its own.  It has no
init.  tests/fleet has the same over a real sshd.
"""
import hashlib
import json
import os
import pty
import shutil
import stat
import subprocess

import pytest

from harness import wait_for
from hosts import BUILD, DEPLOYCTL

SUPERVISOR = os.path.abspath(os.environ.get("SUPERVISOR_BIN",
                                            os.path.join(BUILD, "bin/supervisor")))
PATIENCE = 60
SSH = """#!/bin/sh
for last; do :; done
echo "$*" >>"$HOST_ROOT.ssh"
[ ! -e "$HOST_ROOT.down" ] || { cat "$HOST_ROOT.down" >&2; exit 255; }
if [ -e "$HOST_ROOT.limit" ]; then ulimit -f "$(cat "$HOST_ROOT.limit")"; fi
exec unshare --mount --propagation private sh -c '
    mount --rbind /usr "$HOST_ROOT/usr" && mount --bind "$HOST_ROOT.local" "$HOST_ROOT/usr/local" &&
    mount --rbind /dev "$HOST_ROOT/dev" && mount --rbind /proc "$HOST_ROOT/proc" &&
    mount --bind "$HOST_ROOT.comm" "$HOST_ROOT/proc/1/comm" &&
    exec chroot "$HOST_ROOT" /bin/sh -c "$1"' host "$last"
"""
RECIPE = """[deploy]
app = shop
source = .
service = shop
service_file = ./shop.ini
[fleet]
hosts = web1
user = deploy
connect_timeout = 5s
"""
SERVICE = """[service:shop]
command = ./hello
user = shop
release = /srv/shop
"""


class Host:
    def __init__(self, folder):
        self.folder, self.root = folder, os.path.join(folder, "root")
        for name in ("usr", "dev", "etc", "srv", "home", "run", "tmp", "var/lib", "var/log",
                     "proc", "root"):
            os.makedirs(self.path(name))
        for name in ("bin", "sbin", "lib", "lib64", "lib32", "libx32"):
            if os.path.islink("/" + name):
                os.symlink(os.readlink("/" + name), self.path(name))
        for name in ("passwd", "group", "shadow", "gshadow", "login.defs", "nsswitch.conf",
                     "ld.so.cache"):
            if os.path.exists("/etc/" + name):
                shutil.copy("/etc/" + name, self.path("etc", name))
        for name in ("passwd", "group", "shadow", "gshadow"):
            if os.path.exists(self.path("etc", name)):
                lines = self.text("etc", name).splitlines(keepends=True)
                self.write(("etc", name), "".join(
                    line for line in lines if line.split(":")[0] not in ("deploy", "shop")))
        with open(self.root + ".comm", "w") as file:
            file.write("bash\n")
        os.makedirs(self.root + ".local/bin")
        os.makedirs(folder + "/bin")
        self.script(folder + "/bin/ssh", SSH)
        for name, text in (("deploy.ini", RECIPE), ("shop.ini", SERVICE)):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)

    def path(self, *names):
        return os.path.join(self.root, *names)

    def local(self, *names):
        return os.path.join(self.root + ".local", *names)

    def text(self, *names):
        with open(self.path(*names)) as file:
            return file.read()

    def write(self, names, text):
        with open(self.path(*names), "w") as file:
            file.write(text)

    @staticmethod
    def script(path, text):
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)

    def words(self, *words):
        return [DEPLOYCTL, words[0], "-f", self.folder + "/deploy.ini", *words[1:]]

    def environment(self):
        return {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}:/usr/sbin:/sbin",
                "HOST_ROOT": self.root}

    def run(self, *words, code=0):
        done = subprocess.run(self.words(*words), capture_output=True, text=True, timeout=PATIENCE,
                              stdin=subprocess.DEVNULL, env=self.environment())
        done.text = done.stdout + done.stderr
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.text}"
        return done

    def bootstrap(self, *words, code=0):
        return self.run("bootstrap", "--supervisor", SUPERVISOR, *words, code=code)

    def files(self):
        """Everything that is there but what runs leave behind: path -> what it is."""
        found = {}
        for top in (self.root + "/etc", self.root + "/srv", self.root + "/home",
                    self.root + ".local"):
            for folder, _, names in os.walk(top):
                for name in names + ["."]:
                    path = os.path.join(folder, name)
                    st = os.lstat(path)
                    found[path] = (st.st_mode, st.st_uid, st.st_ino, st.st_mtime_ns, st.st_size)
        return found

    def ids(self, name):
        line = next(line for line in self.text("etc", "passwd").splitlines()
                    if line.startswith(name + ":"))
        return [int(word) for word in line.split(":")[2:4]]


@pytest.fixture
def host(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: only root may make a host out of a mount namespace")
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"NOT TESTED: no mount namespace here: {probe.stderr.strip()}")
    return Host(str(tmp_path))


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def is_whole(host):
    for name, of in (("sbin/supervisor", SUPERVISOR), ("bin/deployctl", DEPLOYCTL)):
        assert digest(host.local(name)) == digest(of)
        assert stat.S_IMODE(os.stat(host.local(name)).st_mode) == 0o755
    deploy, group = host.ids("deploy")
    folder = os.stat(host.path("srv/shop"))
    assert (folder.st_uid, folder.st_gid, stat.S_IMODE(folder.st_mode)) == (deploy, group, 0o755)
    assert host.ids("shop")[0] not in (0, deploy)
    assert "\ncontrol_group = deploy\n" in host.text("etc/supervisor/supervisor.ini")
    assert host.text("etc/supervisor/conf.d/shop.ini") == SERVICE
    left = [path for path in host.files() if ".new" in path or ".before" in path]
    assert left == []


def test_a_bare_host_gets_everything_and_a_second_run_does_nothing(host):
    done = host.bootstrap()
    for step in ("group", "user", "service-user", "deployctl", "supervisor", "folder", "config",
                 "service-file"):
        assert f"web1  {step} " in done.stdout, done.text
    assert "authorized_keys" in done.stdout and "supervisor run" in done.stdout
    is_whole(host)
    before = host.files()
    again = host.bootstrap()
    assert "web1: has everything" in again.stdout and host.files() == before
    with open(host.root + ".ssh") as file:
        calls = file.read().splitlines()
    assert len(calls) == 2 and all(" -l root " in call for call in calls)  # one connection each


def test_a_dry_run_tells_and_changes_nothing(host):
    before = host.files()
    done = host.bootstrap("--dry-run")
    assert "make the user deploy" in done.stdout and "Nothing was changed" in done.stdout
    assert host.files() == before
    lines = [json.loads(line) for line in
             host.bootstrap("--dry-run", "--json").stdout.splitlines()]
    assert [step["step"] for step in lines[0]["steps"]][:2] == ["group", "user"]
    assert lines[-1] == {"event": "end", "ready": 0, "hosts": 1, "exit": 0}


def test_on_a_terminal_it_asks(host):
    """stdin and stderr are a terminal; anything but y changes nothing."""
    before = host.files()
    for answer in (b"n\n", b"y\n"):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(host.words("bootstrap", "--supervisor", SUPERVISOR),
                                   stdin=theirs, stderr=theirs, stdout=subprocess.PIPE,
                                   env=host.environment())
        os.close(theirs)
        try:
            asked = b""
            while b"Do this on 1 host? [y/N] " not in asked:
                asked += os.read(ours, 1000)
            if answer == b"n\n":
                assert host.files() == before
            os.write(ours, answer)
            out = process.communicate(timeout=PATIENCE)[0].decode()
        finally:
            process.kill()
            process.wait()
            os.close(ours)
        assert process.returncode == 0
        if answer == b"n\n":
            assert "Nothing was changed" in out and host.files() == before
    is_whole(host)


def test_what_a_host_says_does_not_act_on_the_terminal(host):
    host.script(host.local("bin/uname"), "#!/bin/sh\nprintf '\\033[2Jvax\\n'\n")
    assert "?[2Jvax" in host.bootstrap(code=3).stdout
    host.script(host.local("bin/sudo"),
                "#!/bin/sh\nprintf 'sudo: \\033[2J no\\n' >&2\nexit 1\n")
    assert "sudo: ?[2J no" in host.bootstrap("--sudo", code=4).stdout


def test_a_host_of_another_machine_is_refused(host):
    host.script(host.local("bin/uname"), "#!/bin/sh\necho vax\n")
    before = host.files()
    done = host.bootstrap(code=3)
    assert "the host is vax" in done.stdout and "--deployctl PATH" in done.stdout
    assert host.files() == before


def test_sudo_that_wants_a_password(host):
    host.script(host.local("bin/sudo"),
                "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    done = host.bootstrap("--sudo", code=4)
    assert "wants a password" in done.stdout and "NOPASSWD" in done.stdout
    with open(host.root + ".ssh") as file:
        assert " -l deploy " in file.read()


def test_sudo_that_works(host):
    host.script(host.local("bin/sudo"), "#!/bin/sh\n[ \"$1\" = -n ] && shift && exec \"$@\"\n")
    host.bootstrap("--sudo")
    is_whole(host)


@pytest.mark.parametrize("says,remedy", [
    ("Permission denied (publickey).", "ssh-add"),
    ("Host key verification failed.", "compare its fingerprint"),
])
def test_a_login_that_does_not_work_is_told(host, says, remedy):
    with open(host.root + ".down", "w") as file:
        file.write(says + "\n")
    done = host.bootstrap(code=4)
    assert remedy in done.stdout and "ssh -l root web1" in done.stdout


def test_a_copy_that_fails_in_the_middle_leaves_nothing(host):
    with open(host.root + ".limit", "w") as file:
        file.write("64")  # blocks of 512 bytes
    done = host.bootstrap(code=3)
    assert "deployctl" in done.stderr and "could not be written" in done.stderr, done.text
    assert not os.path.exists(host.local("bin/deployctl"))
    assert not [path for path in host.files() if ".new" in path]
    os.unlink(host.root + ".limit")
    host.bootstrap()
    is_whole(host)


def test_killed_in_the_middle_and_run_again(host):
    host.script(host.local("bin/head"), """#!/bin/sh
[ "$1" = -c ] || exec /usr/bin/head "$@"
: >/tmp/copying
/usr/bin/head -c 1000
cat >/dev/null
exit 1
""")
    process = subprocess.Popen(host.words("bootstrap", "--supervisor", SUPERVISOR),
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=host.environment())
    try:
        wait_for(lambda: os.path.exists(host.path("tmp/copying")), "the copy has begun")
    finally:
        process.kill()
        process.wait()
    os.unlink(host.local("bin/head"))
    assert not os.path.exists(host.local("bin/deployctl"))
    host.bootstrap()
    is_whole(host)


def test_what_is_there_is_kept(host):
    """A configuration without control_group gets that line; a service file that differs stays."""
    os.makedirs(host.path("etc/supervisor/conf.d"))
    mine = "; mine\n[supervisor]\nlog_level = info\n[include]\nfiles = %(here)s/conf.d/*.ini\n"
    host.write(("etc/supervisor/supervisor.ini",), mine)
    other = SERVICE.replace("./hello", "./hello 1")
    host.write(("etc/supervisor/conf.d/shop.ini",), other)
    done = host.bootstrap()
    assert "--replace brings yours" in done.stdout
    assert host.text("etc/supervisor/supervisor.ini") == mine.replace(
        "[supervisor]\n", "[supervisor]\ncontrol_group = deploy\n")
    assert host.text("etc/supervisor/conf.d/shop.ini") == other
    host.bootstrap("--replace")
    is_whole(host)


def test_a_service_file_with_a_mistake_does_not_stay(host):
    with open(host.folder + "/shop.ini", "w") as file:
        file.write(SERVICE + "reddy = tcp:80\n")
    done = host.bootstrap(code=3)
    assert "service-file" in done.stderr and "reddy" in done.stderr and "shop.ini:5" in done.stderr
    assert os.listdir(host.path("etc/supervisor/conf.d")) == []
    with open(host.folder + "/shop.ini", "w") as file:
        file.write(SERVICE)
    host.bootstrap()
    is_whole(host)


def test_a_folder_that_cannot_be_used(host):
    os.symlink("/var/lib", host.path("srv/shop"))
    assert "is a symlink" in host.bootstrap(code=3).stdout
    os.unlink(host.path("srv/shop"))
    os.symlink("/var/lib", host.path("srv/link"))
    os.makedirs(host.path("var/lib/shop"))
    with open(host.folder + "/deploy.ini", "a") as file:
        file.write("[host:web1]\npath = /srv/link/shop\n")
    assert "path = /var/lib/shop" in host.bootstrap(code=3).stdout


def test_words_that_no_shell_should_see_are_refused(host):
    with open(host.folder + "/deploy.ini", "w") as file:
        file.write(RECIPE.replace("user = deploy", "user = $(reboot)"))
    assert "$(reboot)" in host.bootstrap(code=3).stderr
    with open(host.folder + "/deploy.ini", "w") as file:
        file.write(RECIPE.replace("user = deploy\n", ""))
    assert "name who deploys" in host.bootstrap(code=3).stderr
    assert "web9" in host.bootstrap("web9", code=2).stderr
    assert not os.path.exists(host.root + ".ssh")


def test_hosts_tells_what_is_missing_and_the_remedy(host):
    lacks = host.run("hosts", code=3)
    assert "`deployctl bootstrap web1` brings it" in lacks.stdout
    host.bootstrap()
    lacks = host.run("hosts", code=3)  # no supervisor runs there
    assert "no answer" in lacks.stdout and "`deployctl bootstrap web1`" in lacks.stdout
    one = json.loads(host.run("hosts", "--json", code=3).stdout)["hosts"][0]
    assert one["state"] == "not ready" and one["remedy"] == "deployctl bootstrap web1"
    assert one["agent"]["version"] and one["folder"] == "ok" and abs(one["skew_ms"]) < 5000
    with open(host.root + ".down", "w") as file:
        file.write("Permission denied (publickey).\n")
    away = host.run("hosts", code=4)
    assert "unreachable" in away.stdout and "logs in as root" in away.stdout


def test_an_init_of_scripts_starts_it(host):
    if not os.path.exists("/usr/lib/lsb/init-functions") or not shutil.which(
            "update-rc.d", path="/usr/sbin:/sbin"):
        pytest.skip("NOT TESTED: this machine has no update-rc.d or /lib/lsb/init-functions")
    with open(host.root + ".comm", "w") as file:
        file.write("init\n")
    os.makedirs(host.path("etc/init.d"))

    def there(words, code):
        done = subprocess.run([host.folder + "/bin/ssh", words], env=host.environment(),
                              capture_output=True, text=True, timeout=PATIENCE,
                              stdin=subprocess.DEVNULL)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout
    supervisor = "/usr/local/sbin/supervisor"
    try:
        done = host.bootstrap()
        assert "web1  unit " in done.stdout and "web1  start " in done.stdout
        assert f"DAEMON={supervisor}\n" in host.text("etc/init.d/supervisor")
        assert "shop:0" in there(f"{supervisor} status", 3)  # waits for its first release
        there("/etc/init.d/supervisor status", 0)
        ready = host.run("hosts")
        assert ready.stdout.splitlines()[1].endswith(" ok")
        assert "web1: has everything" in host.bootstrap().stdout
        with open(host.folder + "/shop.ini", "a") as file:
            file.write("startsecs = 2s\n")
        assert "web1  reload " in host.bootstrap("--replace").stdout
    finally:
        there(f"{supervisor} shutdown", None)
