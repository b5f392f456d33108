"""What the real supervisord understands of configurations, as JSON: run as a program with the files.

Reads with supervisord's own classes (Debian's package), starts nothing.  Prints for each file
{"processes": [...]} in the order in which supervisord would start them, or {"error": text}."""
import json
import os
import shlex
import sys
import warnings

warnings.simplefilter("ignore")
from supervisor import datatypes, options  # noqa: E402


def words(command):
    try:
        return shlex.split(command)
    except ValueError:  # found out when it is spawned
        return None


def log(value):
    return "auto" if value is datatypes.Automatic else value


def restart(value):
    names = {datatypes.RestartUnconditionally: "true", datatypes.RestartWhenExitUnexpected: "unexpected"}
    return names.get(value, "false")


def process(group, one):
    return {
        "group": group.name, "name": one.name, "command": words(one.command), "priority": one.priority,
        "directory": one.directory, "umask": one.umask, "uid": one.uid, "autostart": one.autostart,
        "autorestart": restart(one.autorestart), "startsecs": one.startsecs,
        "startretries": one.startretries, "exitcodes": sorted(set(one.exitcodes)),
        "stopsignal": one.stopsignal, "stopwaitsecs": one.stopwaitsecs,
        "stopasgroup": one.stopasgroup, "killasgroup": one.killasgroup,
        "redirect_stderr": one.redirect_stderr, "environment": one.environment,
        "stdout": log(one.stdout_logfile), "stderr": log(one.stderr_logfile),
        "stdout_syslog": one.stdout_syslog, "stderr_syslog": one.stderr_syslog,
        "stdout_maxbytes": one.stdout_logfile_maxbytes, "stderr_maxbytes": one.stderr_logfile_maxbytes,
        "stdout_backups": one.stdout_logfile_backups, "stderr_backups": one.stderr_logfile_backups,
        "socket": str(group.socket_config) if hasattr(group, "socket_config") else None,
    }


def read(path):
    server = options.ServerOptions()
    server.configfile = path
    server.here = os.path.dirname(os.path.abspath(path))
    server.read_config(path)
    groups = server.configroot.supervisord.process_group_configs
    return [process(group, one) for group in groups for one in group.process_configs]


def answer(path):
    try:
        return {"processes": read(path)}
    except Exception as error:  # ValueError mostly; but it also lets other things through
        return {"error": f"{type(error).__name__}: {error}"}


json.dump({path: answer(path) for path in sys.argv[1:]}, sys.stdout)
