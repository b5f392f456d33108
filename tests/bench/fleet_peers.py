"""What others do for the same release: by hand over ssh, pssh, Ansible, Capistrano; as Debian has them.

Each way has first(source, name), second(source, name) and rollback(), which are command lines.  What
it makes of the source (an archive) is part of it.  A way is left out when its program is missing.
All use the layout of deployctl: /srv/app/releases/NAME and `current`, swapped by one rename.
"""
import os
import shutil
import subprocess

AT_ONCE = 32  # hosts, as deployctl's `parallel`
SWAP = "cd /srv/app && ln -sfn releases/{name} .c && mv -T .c current"
KEEP = " && ls -1dt releases/* | tail -n +6 | xargs -r rm -rf"
BACK = ("cd /srv/app && c=$(readlink current) && "
        "p=$(ls -1d releases/* | sort | grep -B1 -x $c | head -1) && [ $p != $c ] && "
        "ln -sfn $p .c && mv -T .c current")


class Way:
    """By hand: one `ssh HOST COMMAND` each, so many at a time."""

    name = "ssh true"
    needs = ("ssh", "xargs")
    heavy = False  # so slow that one round of it must do
    always = ("first", "second", "rollback")  # what is measured in the rounds after the first, too

    def __init__(self, bed):
        self.bed, self.config = bed, bed.path("ssh_config")

    def begin_with(self, sources):
        """What is there before the first release and is not measured."""

    def here(self):
        return all(shutil.which(program) for program in self.needs)

    def each(self, command, before="", config=None):
        """`command` for every host, in a shell where {} is the host and $S the ssh to it."""
        script = self.bed.path(f"{self.name.replace(' ', '-')}.sh")
        with open(script, "w") as file:
            file.write(f'S="ssh -F {config or self.config}"\nh=$1\n{command}\n')
        # A session each, as deployctl's ssh has: the kernel shares processors between sessions.
        return ["sh", "-ec", f"{before}\nxargs -P {AT_ONCE} -I@ setsid sh -e {script} @ "
                             f"<{self.bed.path('hosts.txt')}"]

    def floor(self, config=None):
        return self.each("exec $S -n $h true", config=config)

    def rollback(self):
        return self.each(f"exec $S -n $h '{BACK}'")

    def second(self, source, name):
        return self.first(source, name)


class GzipPipe(Way):
    name = "tar.gz by hand"
    always = ("first",)  # it sends everything every time, and goes back as the others do by hand
    pack, unpack = "gzip -c", "tar -xzf -"
    needs = ("ssh", "xargs", "tar", "gzip")

    def first(self, source, name):
        archive = self.bed.path("archive")
        return self.each(f"exec $S $h 'set -e; mkdir -p /srv/app/releases/{name}; "
                         f"cd /srv/app/releases/{name}; {self.unpack}; "
                         f"{SWAP.format(name=name)}{KEEP}' <{archive}",
                         f"tar -C {source} -cf - . | {self.pack} >{archive}")


class ZstdPipe(GzipPipe):
    name = "tar.zst by hand"
    pack, unpack = "zstd -q -c", "zstd -dc | tar -xf -"
    needs = ("ssh", "xargs", "tar", "zstd")


class Cat(Way):
    """Not a release: the bytes alone."""

    name = "ssh cat"

    def first(self, file, _):
        return self.each(f"exec $S $h 'cat >/dev/null' <{file}")


class Rsync(Way):
    name = "rsync --link-dest"
    needs = ("ssh", "xargs", "rsync")

    def first(self, source, name):
        folder = f"/srv/app/releases/{name}"
        kept = f"{self.bed.path('rsync')}-%C"
        return self.each(
            f'S="$S -o ControlMaster=auto -o ControlPersist=10 -o ControlPath={kept}"\n'
            f'rsync -az -e "$S" --link-dest=/srv/app/current/ '
            f'--rsync-path="mkdir -p {folder} && rsync" {source}/ $h:{folder}/\n'
            f"$S -n $h '{SWAP.format(name=name)}{KEEP}'\n$S -O exit $h 2>/dev/null")


class Pssh(Way):
    name = "pssh"
    heavy = True
    needs = ("parallel-ssh", "parallel-rsync", "rsync")

    def __init__(self, bed):
        super().__init__(bed)
        folder = bed.path("pssh")  # parallel-rsync knows no options of ssh: a wrapper
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/ssh", "w") as file:
            file.write(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.config} "$@"\n')
        os.chmod(f"{folder}/ssh", 0o755)
        self.common = f"-t 0 -p {AT_ONCE} -h {bed.path('hosts.txt')}"
        self.start = f"PATH={folder}:$PATH\nexec >/dev/null"

    def ssh(self, command):
        return f"parallel-ssh {self.common} '{command}'"

    def first(self, source, name):
        folder = f"/srv/app/releases/{name}"
        return ["sh", "-ec", "\n".join((
            self.start, self.ssh(f"mkdir -p {folder}"),
            f"parallel-rsync {self.common} -a -z -r -x --link-dest=/srv/app/current/ "
            f"{source}/ {folder}/",
            self.ssh(SWAP.format(name=name) + KEEP)))]

    def rollback(self):
        return ["sh", "-ec", f"{self.start}\n{self.ssh(BACK)}"]


ANSIBLE_CONFIG = """[defaults]
forks = 32
gathering = explicit
stdout_callback = minimal
interpreter_python = /usr/bin/python3
retry_files_enabled = False
inventory = {inventory}
local_tmp = {folder}/local
remote_tmp = /tmp/ansible
[ssh_connection]
pipelining = True
ssh_args = -F {ssh} -o ControlMaster=auto -o ControlPersist=60s
control_path_dir = {folder}
"""
ANSIBLE_FIRST = """- hosts: all
  tasks:
    - file: {path: "/srv/app/releases/{{ name }}", state: directory}
    - unarchive: {src: "{{ archive }}", dest: "/srv/app/releases/{{ name }}"}
    - file: {src: "releases/{{ name }}", dest: /srv/app/current, state: link}
    - shell: "ls -1dt /srv/app/releases/* | tail -n +6 | xargs -r rm -rf"
"""
ANSIBLE_BACK = """- hosts: all
  tasks:
    - shell: 'cd /srv/app; c=$(readlink current); ls -1d releases/* | sort | grep -B1 -x $c | head -1'
      register: before
    - file: {src: "{{ before.stdout }}", dest: /srv/app/current, state: link}
"""


class Ansible(Way):
    name = "Ansible"
    needs = ("ansible-playbook",)
    heavy = True

    def __init__(self, bed):
        super().__init__(bed)
        self.folder = bed.path("ansible")
        os.makedirs(self.folder, exist_ok=True)
        for name, text in (("ansible.cfg", ANSIBLE_CONFIG.format(
                inventory=bed.path("hosts.txt"), folder=self.folder, ssh=self.config)),
                ("first.yml", ANSIBLE_FIRST), ("back.yml", ANSIBLE_BACK)):
            with open(f"{self.folder}/{name}", "w") as file:
                file.write(text)
        self.env = {"ANSIBLE_CONFIG": f"{self.folder}/ansible.cfg", "LC_ALL": "C.UTF-8"}

    def first(self, source, name):
        archive = f"{self.folder}/app.tar.gz"
        return ["sh", "-ec", f"tar -C {source} -czf {archive} .\nexec ansible-playbook "
                             f"{self.folder}/first.yml -e name={name} -e archive={archive}"]

    def rollback(self):
        return ["ansible-playbook", f"{self.folder}/back.yml"]


CAPFILE = """require 'capistrano/setup'
require 'capistrano/deploy'
require 'capistrano/scm/git'
install_plugin Capistrano::SCM::Git
"""
DEPLOY_RB = """set :application, 'app'
set :repo_url, 'git://{address}/app.git'
set :branch, ENV['BRANCH'] || 'v1'
set :deploy_to, '/srv/app'
set :keep_releases, 5
set :format, :simpletext
set :log_level, :warn
set :format_options, log_file: nil
set :ssh_options, {{ config: ['{ssh}'], user_known_hosts_file: '{known}', keys: ['{key}'],
                    forward_agent: false }}
File.read('{hosts}').split.each {{ |h| server h, roles: %w{{app}}, user: 'deploy' }}
"""


class Capistrano(Way):
    """Its standard way: a mirror of the repository on each host, which a daemon here serves."""

    name = "Capistrano"
    needs = ("cap", "git")
    heavy = True

    def __init__(self, bed):
        super().__init__(bed)
        self.folder = bed.path("cap")
        if not self.here():
            return
        os.makedirs(f"{self.folder}/config/deploy", exist_ok=True)
        text = DEPLOY_RB.format(address=bed.address, ssh=self.config, hosts=bed.path("hosts.txt"),
                                known=bed.path("known_hosts"), key=bed.path("id"))
        for name, text in (("Capfile", CAPFILE), ("config/deploy.rb", text),
                           ("config/deploy/bench.rb", "")):
            with open(f"{self.folder}/{name}", "w") as file:
                file.write(text)
        self.env = {"LC_ALL": "C.UTF-8"}
        self.cwd = self.folder

    def begin_with(self, sources):
        """The repository, a branch for each of the two, and who serves it."""
        work, bare = f"{self.folder}/work", f"{self.folder}/served/app.git"
        os.makedirs(work)
        git = f"git -C {work} -c user.name=bench -c user.email=bench"
        script = f"git init -q -b v1 {work}\n"
        for version in ("v1", "v2"):
            script += (f"{git} checkout -q -B {version}\ncp -r {sources}/{version}/. {work}\n"
                       f"{git} add -A\n{git} commit -q -m {version}\n")
        script += f"git clone -q --bare {work} {bare}\ntouch {bare}/git-daemon-export-ok"
        subprocess.run(["sh", "-ec", script], check=True)
        self.bed.start("git", "daemon", "--export-all", f"--base-path={self.folder}/served",
                       f"--listen={self.bed.address}", "--reuseaddr", "--max-connections=0")

    def first(self, source, name):
        return ["env", f"BRANCH={os.path.basename(source)}", "cap", "bench", "deploy"]

    def rollback(self):
        return ["cap", "bench", "deploy:rollback"]


WAYS = (GzipPipe, ZstdPipe, Rsync, Pssh, Ansible, Capistrano)
