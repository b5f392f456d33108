/* bootstrap_script.c - the contract is in bootstrap_script.h. */
#include "deployctl/plan/bootstrap_script.h"

#include <stdio.h>
#include <string.h>

/* Files of the project, taken in as they are.  The Makefile knows that this object needs them. */
#define EMBED(name, file)                                                                          \
    __asm__(".pushsection .rodata\n" #name ":\n.incbin \"" file "\"\n.byte 0\n.popsection\n");     \
    extern const char name[] /* NOLINT(bugprone-macro-parentheses) */                              \
        __attribute__((visibility("hidden")))
EMBED(bootstrap_file_config, "conf.d/supervisor.ini");
EMBED(bootstrap_file_systemd, "examples/ssh/supervisor.service");
EMBED(bootstrap_file_sysv, "debian/process-supervisor.supervisor.init");

static const char probe_text[] =
    "f() { printf '%s=%s\\n' \"$1\" \"$2\"; }\n"
    "sum() { sha256sum <\"$1\" 2>/dev/null | cut -c1-64; }\n"
    "program() {\n"
    "    [ -f \"$2\" ] && [ -x \"$2\" ] || return 0\n"
    "    v=$(\"$2\" version 2>/dev/null | sed -n '1s/.* //p')\n"
    "    f \"$1\" \"${v:-0}\"\n"
    "    f \"$1_digest\" \"$(sum \"$2\")\"\n"
    "}\n"
    /* The nearest folder above that is there. */
    "above() { d=$1; while [ ! -d \"$d\" ]; do d=${d%/*}; [ \"$d\" ] || d=/; done; }\n"
    "free() { df -Pk \"$2\" 2>/dev/null | { read -r x; read -r x x x a x; f \"$1\" \"$a\"; }; }\n"
    "entry() { getent \"$1\" \"$2\" 2>/dev/null || grep \"^$2:\" \"/etc/$1\"; }\n"
    "has() { command -v \"$2\" >/dev/null 2>&1 && f \"$1\" 1; }\n"
    "f machine \"$(uname -m)\"\n"
    "f uid \"$(id -u)\"\n"
    "f login \"$(id -un)\"\n"
    "if [ -d /run/systemd/system ]; then\n"
    "    f init systemd\n"
    "    [ -f /etc/systemd/system/supervisor.service ] ||\n"
    "        [ -f /lib/systemd/system/supervisor.service ] && f unit 1\n"
    "else\n"
    "    c=; read -r c </proc/1/comm\n"
    "    if [ \"$c\" = init ] && [ -f /lib/lsb/init-functions ]; then\n"
    "        f init sysv\n"
    "        [ -f /etc/init.d/supervisor ] && f unit 1\n"
    "    elif [ \"$c\" = supervisor ]; then f init supervisor; fi\n"
    "fi\n"
    "[ -e \"$ld1\" ] && f interpreter_deployctl 1\n"
    "[ -e \"$ld2\" ] && f interpreter_supervisor 1\n"
    "has digests sha256sum; has useradd useradd; has adduser adduser\n"
    "program deployctl \"$deployctl\"\n"
    "[ -f \"$supervisor\" ] || [ ! -x /usr/sbin/supervisor ] ||\n"
    "    { supervisor=/usr/sbin/supervisor; f packaged \"$supervisor\"; }\n"
    "program supervisor \"$supervisor\"\n"
    "f running \"$(\"$supervisor\" status --json 2>/dev/null |\n"
    "    sed -n 's/.*\"supervisor\": *{.*\"version\": *\"\\([^\"]*\\)\".*/\\1/p' | head -n 1)\"\n"
    "entry group \"$user\" >/dev/null && f group 1\n"
    "if id -u \"$user\" >/dev/null 2>&1; then\n"
    "    f user 1\n"
    "    f groups \"$(id -nG \"$user\")\"\n"
    "    home=$(entry passwd \"$user\" | cut -d: -f6)\n"
    "    [ -s \"$home/.ssh/authorized_keys\" ] && f keys 1\n"
    "fi\n"
    "if [ -L \"$path\" ]; then f folder link\n"
    "elif [ -d \"$path\" ]; then\n"
    "    f folder dir\n"
    "    f folder_real \"$(readlink -f \"$path\")\"\n"
    "    f folder_owner \"$(stat -c %U \"$path\")\"\n"
    "    f folder_mode \"$(stat -c %a \"$path\")\"\n"
    "elif [ -e \"$path\" ]; then f folder other\n"
    "else above \"$path\"; [ -w \"$d\" ] && f path_writable 1; fi\n"
    "above \"$path\"; free path_free_kb \"$d\"\n"
    "w=1\n"
    "for t in \"$deployctl\" \"$supervisor\"; do\n"
    "    above \"${t%/*}\"; [ -w \"$d\" ] || w=0\n"
    "done\n"
    "f programs_writable $w\n"
    "free programs_free_kb \"$d\"\n"
    "[ -f \"$config\" ] && f config 1\n"
    "f control_group \"$(cat \"$config\" \"$conf_d\"/*.ini 2>/dev/null |\n"
    "    sed -n 's/^[[:space:]]*control_group[[:space:]]*=[[:space:]]*\\([^[:space:]]*\\).*/\\1/p' "
    "|\n"
    "    head -n 1)\"\n"
    "[ \"$service\" ] && [ -f \"$conf_d/$service\" ] &&\n"
    "    { f service_file 1; f service_digest \"$(sum \"$conf_d/$service\")\"; }\n"
    "there=; for u in $users; do id -u \"$u\" >/dev/null 2>&1 && there=\"$there $u\"; done\n"
    "f service_users \"$there\"\n";

/* The steps.  Each is run with `set -e`; `fail` ends it with a sentence. */
static const char *const step_texts[BOOTSTRAP_NACTS] = {
    [BOOTSTRAP_GROUP] =
        "if command -v groupadd >/dev/null; then groupadd --system \"$name\"\n"
        "else addgroup -S \"$name\" 2>/dev/null || addgroup --system \"$name\"; fi\n",
    /* '*' as the password: no password fits, and sshd does not take the account for locked. */
    [BOOTSTRAP_USER] =
        "if command -v useradd >/dev/null; then\n"
        "    useradd --system --gid \"$name\" --create-home --home-dir \"/home/$name\" \\\n"
        "        --shell /bin/sh --password '*' \"$name\"\n"
        "else\n"
        "    adduser -S -D -G \"$name\" -h \"/home/$name\" -s /bin/sh \"$name\" 2>/dev/null ||\n"
        "        adduser --system --ingroup \"$name\" --home \"/home/$name\" --shell /bin/sh \\\n"
        "            --disabled-password \"$name\"\n"
        "    sed -i \"s/^$name:!*:/$name:*:/\" /etc/shadow\n"
        "fi\n",
    [BOOTSTRAP_SERVICE_USER] =
        "shell=/bin/false\n"
        "for s in /usr/sbin/nologin /sbin/nologin; do [ ! -x $s ] || shell=$s; done\n"
        "if command -v useradd >/dev/null; then\n"
        "    useradd --system --user-group --no-create-home --shell $shell \"$name\"\n"
        "else\n"
        "    addgroup -S \"$name\" 2>/dev/null || addgroup --system \"$name\"\n"
        "    adduser -S -D -H -G \"$name\" -s $shell \"$name\" 2>/dev/null ||\n"
        "        adduser --system --ingroup \"$name\" --no-create-home --shell $shell \"$name\"\n"
        "fi\n",
    [BOOTSTRAP_DEPLOYCTL] = "target=$deployctl; take 755; trial; put\n",
    [BOOTSTRAP_SUPERVISOR_COPY] = "target=$supervisor; take 755; trial; put\n",
    [BOOTSTRAP_FOLDER] = "mkdir -p \"$path\"\n"
                         "chown \"$user:$(id -gn \"$user\")\" \"$path\"\n"
                         "chmod 755 \"$path\"\n",
    [BOOTSTRAP_CONFIG_NEW] = "mkdir -p \"$conf_d\"\ntarget=$config; take 644; put\n",
    [BOOTSTRAP_CONTROL_GROUP] =
        "n=$config.new; cp -p \"$config\" \"$n\"\n"
        "if grep -q '^[[:space:]]*\\[supervisor\\]' \"$config\"; then\n"
        "    sed \"s/^[[:space:]]*\\[supervisor\\].*/&\\ncontrol_group = $name/\" \"$config\" "
        ">\"$n\"\n"
        "else\n"
        "    { printf '[supervisor]\\ncontrol_group = %s\\n\\n' \"$name\"; cat \"$config\"; } "
        ">\"$n\"\n"
        "fi\n"
        "says=$(\"$supervisor\" check -c \"$n\" 2>&1) || { rm -f \"$n\"; fail \"$says\"; }\n"
        "settle \"$n\"; mv -f \"$n\" \"$config\"\n",
    [BOOTSTRAP_MEMBER] = "if command -v usermod >/dev/null; then usermod -aG \"$name\" \"$user\"\n"
                         "else addgroup \"$user\" \"$name\" || adduser \"$user\" \"$name\"; fi\n",
    /* A file with a mistake does not stay. */
    [BOOTSTRAP_SERVICE_FILE] =
        "mkdir -p \"$conf_d\"\ntarget=$conf_d/$service; take 644\n"
        "[ ! -f \"$target\" ] || cp -p \"$target\" \"$target.before\"\n"
        "put\n"
        "says=$(\"$supervisor\" check 2>&1) || {\n"
        "    if [ -f \"$target.before\" ]; then mv -f \"$target.before\" \"$target\"\n"
        "    else rm -f \"$target\"; fi\n"
        "    fail \"$says\"\n"
        "}\n"
        "rm -f \"$target.before\"\n",
    [BOOTSTRAP_UNIT] = "if [ -d /run/systemd/system ]; then\n"
                       "    target=/etc/systemd/system/supervisor.service; take 644; put\n"
                       "else target=/etc/init.d/supervisor; take 755; put; fi\n",
    [BOOTSTRAP_START] =
        "says=$(\"$supervisor\" check 2>&1) || fail \"$says\"\n"
        "if [ -d /run/systemd/system ]; then\n"
        "    systemctl daemon-reload\n"
        "    systemctl enable --now supervisor\n"
        "else\n"
        "    if command -v update-rc.d >/dev/null; then update-rc.d supervisor defaults\n"
        "    else chkconfig --add supervisor; fi\n"
        "    /etc/init.d/supervisor start\n"
        "fi\n"
        "i=0; until answers; do\n"
        "    [ $i -lt 30 ] || fail \"it was started and does not answer; see its log\"\n"
        "    i=$((i + 1)); sleep 1\n"
        "done\n",
    [BOOTSTRAP_UPGRADE] = "\"$supervisor\" upgrade \"$supervisor\"\n",
    [BOOTSTRAP_RELOAD] = "\"$supervisor\" reload\n",
};

static const char tools_text[] =
    "fail() { printf '%s\\n' \"$1\"; exit 1; }\n"
    /* Old sync knows no files. */
    "settle() { sync \"$1\" 2>/dev/null || sync; }\n"
    "answers() {\n"
    "    c=0; \"$supervisor\" status >/dev/null 2>&1 || c=$?\n"
    "    [ $c = 0 ] || [ $c = 3 ]\n"
    "}\n"
    "take() {\n"
    "    d=${target%/*}; n=$target.new.$$; mkdir -p \"$d\"; rm -f \"$target\".new.*\n"
    "    : >\"$n\"; printf '%s ready\\n' \"$mark\"\n"
    "    head -c $bytes <&3 >\"$n\" || { rm -f \"$n\"; fail \"$n could not be written\"; }\n"
    "    s=$(sha256sum <\"$n\" | cut -c1-64)\n"
    "    [ \"$s\" = $digest ] || { rm -f \"$n\"; fail \"what arrived is not what was sent\"; }\n"
    "    chmod $1 \"$n\"\n"
    "}\n"
    "trial() {\n"
    "    v=$(\"$n\" version 2>/dev/null | head -n 1) || :\n"
    "    [ \"$v\" ] || v=$(\"$n\" version 2>&1 | head -n 1) || :\n"
    "    case $v in\n"
    "    *\" $version\") ;;\n"
    "    [ds]*\" \"[0-9]*) rm -f \"$n\"; fail \"it is ${v##* }, and not $version\" ;;\n"
    "    *) rm -f \"$n\"; fail \"it does not run there (${v#\"$n\"}); build with: make STATIC=1\" "
    ";;\n"
    "    esac\n"
    "}\n"
    "put() { settle \"$n\"; mv -f \"$n\" \"$target\"; settle \"$d\"; }\n";

void bootstrap_quote(struct buf *out, const char *word)
{
    buf_putc(out, '\'');
    for (; *word != '\0'; word++) {
        if (*word == '\'')
            buf_puts(out, "'\\''");
        else
            buf_putc(out, *word);
    }
    buf_putc(out, '\'');
}

static void set(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s=", name);
    bootstrap_quote(out, value != NULL ? value : "");
    buf_putc(out, '\n');
}

static void set_all(struct buf *out, const struct bootstrap_wish *wish, const char *supervisor,
                    const char *mark)
{
    buf_puts(out, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C\n"
                  "export PATH LC_ALL\numask 022\n");
    set(out, "mark", mark);
    set(out, "user", wish->user);
    set(out, "path", wish->path);
    set(out, "deployctl", wish->deployctl.target);
    set(out, "supervisor", supervisor);
    set(out, "config", BOOTSTRAP_CONFIG);
    set(out, "conf_d", BOOTSTRAP_CONF_D);
    set(out, "service", wish->service_file);
    set(out, "version", wish->version);
}

void bootstrap_probe(struct buf *out, const struct bootstrap_wish *wish, const char *mark)
{
    buf_puts(out, "{ (\n");
    set_all(out, wish, wish->supervisor.target, mark);
    set(out, "ld1", wish->deployctl.interpreter);
    set(out, "ld2", wish->supervisor.interpreter);
    buf_puts(out, "users='");
    for (size_t i = 0; i < wish->nservice_users; i++) /* names of users, which need no quotes */
        buf_printf(out, "%s ", wish->service_users[i]);
    buf_puts(out, "'\n");
    buf_puts(out, probe_text);
    buf_puts(out, ") </dev/null 2>/dev/null; ");
    buf_printf(out, "echo '%s end 0'; }\n", mark);
}

enum bootstrap_payload bootstrap_payload_of(enum bootstrap_act act)
{
    static const enum bootstrap_payload payloads[BOOTSTRAP_NACTS] = {
        [BOOTSTRAP_DEPLOYCTL] = BOOTSTRAP_OF_DEPLOYCTL,
        [BOOTSTRAP_SUPERVISOR_COPY] = BOOTSTRAP_OF_SUPERVISOR,
        [BOOTSTRAP_CONFIG_NEW] = BOOTSTRAP_OF_CONFIG,
        [BOOTSTRAP_SERVICE_FILE] = BOOTSTRAP_OF_SERVICE_FILE,
        [BOOTSTRAP_UNIT] = BOOTSTRAP_OF_UNIT,
    };
    return act < BOOTSTRAP_NACTS ? payloads[act] : BOOTSTRAP_NO_PAYLOAD;
}

/* Appends `text` with `from` made `to` wherever it stands. */
static void replaced(struct buf *out, const char *text, const char *from, const char *to)
{
    for (const char *at; (at = strstr(text, from)) != NULL; text = at + strlen(from)) {
        buf_put(out, text, (size_t)(at - text));
        buf_puts(out, to);
    }
    buf_puts(out, text);
}

void bootstrap_text(struct buf *out, enum bootstrap_payload payload,
                    const struct bootstrap_wish *wish, const struct bootstrap_facts *facts)
{
    const char *supervisor = bootstrap_supervisor(wish, facts);
    bool root = strcmp(wish->user, "root") == 0;
    char group[BOOTSTRAP_TEXT_MAX];
    snprintf(group, sizeof group, "\ncontrol_group = %s\n", wish->user);
    if (payload == BOOTSTRAP_OF_CONFIG)
        replaced(out, bootstrap_file_config, "\n;control_group = deploy\n",
                 root ? "\n;control_group = deploy\n" : group);
    else if (payload == BOOTSTRAP_OF_UNIT && bootstrap_init_of(facts) == BOOTSTRAP_INIT_SYSTEMD)
        replaced(out, bootstrap_file_systemd, "/usr/local/sbin/supervisor", supervisor);
    else if (payload == BOOTSTRAP_OF_UNIT)
        replaced(out, bootstrap_file_sysv, "/usr/sbin/supervisor", supervisor);
}

void bootstrap_step_script(struct buf *out, const struct bootstrap_step *step,
                           const struct bootstrap_wish *wish, const struct bootstrap_facts *facts,
                           const char *mark, uint64_t bytes, const char *digest)
{
    bool has_payload = bootstrap_payload_of(step->act) != BOOTSTRAP_NO_PAYLOAD;
    /* The shell's own stdin is kept as 3 for the payload; nothing else may read it. */
    buf_puts(out, "{ (set -e\n");
    set_all(out, wish, bootstrap_supervisor(wish, facts), mark);
    set(out, "name", step->name);
    buf_printf(out, "bytes=%llu\ndigest=%s\n", (unsigned long long)bytes, digest);
    buf_puts(out, tools_text);
    buf_puts(out, step_texts[step->act]);
    buf_printf(out, ") 3<&0 </dev/null 2>&1; c=$?; echo; echo '%s end '$c; ", mark);
    buf_puts(out, has_payload ? "[ $c = 0 ] || exit 1; }\n" : "}\n");
}
