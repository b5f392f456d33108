/* bench_logger.c - how fast the logger writes, against the bare loop that does nothing but read 64
 * KiB, find newlines, put a time in front and write.
 *
 *     bench_logger FOLDER [MEGABYTES]     one line of numbers per load; MB are 10^6 bytes of input
 */
#include <inttypes.h>
#include <sys/resource.h>

#include "tests/system/logger_rig.h"

enum {
    LINE_BYTES = 100,
    BLOCK = 4096,
    BARE_READ = 64 * 1024,
    STREAMS_MANY = 100,
    MAXBYTES = 50 << 20
};

struct load {
    const char *name;
    int format;
    size_t streams, write_bytes;
    bool bare;
};
static const struct load loads[] = {
    /* clang-format off */
    { "bare loop, raw, 4 KiB writes",      STREAMS_RAW,   1, BLOCK, true },
    { "bare loop, raw, line by line",      STREAMS_RAW,   1, LINE_BYTES, true },
    { "bare loop, stamps, 4 KiB writes",   STREAMS_PLAIN, 1, BLOCK, true },
    { "logger, plain, 4 KiB writes",       STREAMS_PLAIN, 1, BLOCK, false },
    { "bare loop, stamps, line by line",   STREAMS_PLAIN, 1, LINE_BYTES, true },
    { "logger, plain, line by line",       STREAMS_PLAIN, 1, LINE_BYTES, false },
    { "logger, raw, 4 KiB writes",         STREAMS_RAW,   1, BLOCK, false },
    { "logger, raw, line by line",         STREAMS_RAW,   1, LINE_BYTES, false },
    { "logger, json, 4 KiB writes",        STREAMS_JSON,  1, BLOCK, false },
    { "logger, plain, 100 streams",        STREAMS_PLAIN, STREAMS_MANY, BLOCK, false },
    /* clang-format on */
};

static pid_t start_writer(int fd, size_t bytes, size_t write_bytes)
{
    static char block[BLOCK];
    pid_t pid = fork();

    RIG_NEED(pid >= 0);
    if (pid > 0)
        return pid;
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = i % LINE_BYTES == LINE_BYTES - 1 ? '\n' : (char)('a' + i % 26);
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(fd, block, write_bytes);
        if (n <= 0)
            _exit(1);
        done += (size_t)n;
    }
    _exit(0);
}

static int next_file(const char *path)
{
    char first[1024], second[1024];

    snprintf(first, sizeof first, "%s.1", path);
    snprintf(second, sizeof second, "%s.2", path);
    (void)rename(first, second);
    (void)rename(path, first);
    return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* The limit: what a logger that promises nothing would do. */
static void bare_loop(int in, const char *path, size_t bytes, bool stamped)
{
    static char data[BARE_READ], out[BARE_READ * 4];
    char stamp[CLOCK_TEXT_MAX + 1];
    int fd = next_file(path);
    size_t written = 0;
    bool midline = false;

    for (size_t done = 0; done < bytes;) {
        ssize_t n = read(in, data, sizeof data);
        if (n <= 0)
            _exit(1);
        clock_text(clock_wall_us(), stamp);
        size_t stamp_len = strlen(stamp);
        stamp[stamp_len++] = ' ';
        char *to = stamped ? out : data + n;
        for (const char *at = data, *end = data + n; stamped && at < end;) {
            const char *newline = memchr(at, '\n', (size_t)(end - at));
            size_t len = (size_t)((newline ? newline + 1 : end) - at);
            if (!midline) {
                memcpy(to, stamp, stamp_len);
                to += stamp_len;
            }
            memcpy(to, at, len);
            to += len;
            at += len;
            midline = !newline;
        }
        const char *from = stamped ? out : data;
        if (write(fd, from, (size_t)(to - from)) != to - from)
            _exit(1);
        done += (size_t)n;
        written += (size_t)(to - from);
        if (written >= MAXBYTES) {
            close(fd);
            fd = next_file(path);
            written = 0;
        }
    }
    _exit(0);
}

static double cpu_of(pid_t pid)
{
    char path[64], line[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    RIG_NEED(file && fgets(line, sizeof line, file));
    fclose(file);
    const char *at = strrchr(line, ')');
    RIG_NEED(at && sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                          &system) == 2);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void remove_logs(const char *folder)
{
    char command[1024];
    snprintf(command, sizeof command, "rm -f %s/*.log*", folder);
    RIG_NEED(system(command) == 0);
}

static void report(const struct load *load, size_t bytes, double seconds, double cpu)
{
    printf("%-34s %7.0f MB/s %6.2f cpu-s/GB\n", load->name, (double)bytes / 1e6 / seconds,
           cpu / ((double)bytes / 1e9));
    fflush(stdout);
}

static void run_bare(const struct load *load, const char *folder, size_t bytes)
{
    char path[1024];
    int pipe_fds[2];
    struct rusage usage;
    siginfo_t info;

    snprintf(path, sizeof path, "%s/bare.log", folder);
    RIG_NEED(pipe2(pipe_fds, O_CLOEXEC) == 0);
    double begin = (double)clock_wall_us();
    pid_t reader = fork();
    if (reader == 0)
        bare_loop(pipe_fds[0], path, bytes, load->format != STREAMS_RAW);
    pid_t writer = start_writer(pipe_fds[1], bytes, load->write_bytes);
    RIG_NEED(waitid(P_PID, (id_t)reader, &info, WEXITED | WNOWAIT) == 0);
    double seconds = ((double)clock_wall_us() - begin) / 1e6;
    RIG_NEED(wait4(reader, NULL, 0, &usage) == reader && waitpid(writer, NULL, 0) == writer);
    report(load, bytes, seconds,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void run_logger(const struct load *load, const char *folder, size_t bytes)
{
    struct rig rig;
    size_t slots[STREAMS_MANY];
    pid_t writers[STREAMS_MANY];

    rig_init(&rig);
    for (size_t i = 0; i < load->streams; i++) {
        char name[32];
        snprintf(name, sizeof name, "s%zu", i);
        struct streams_settings settings =
            rig_settings(folder, name, load->format, MAXBYTES / (int64_t)load->streams, 2);
        slots[i] = rig_stream(&rig, &settings);
    }
    rig_start(&rig, false);
    rig_drain(&rig, slots[0]);
    double before = cpu_of(rig.logger), begin = (double)clock_wall_us();
    for (size_t i = 0; i < load->streams; i++)
        writers[i] =
            start_writer(rig_fd(&rig, "w", slots[i]), bytes / load->streams, load->write_bytes);
    for (size_t i = 0; i < load->streams; i++) {
        int status;
        RIG_NEED(waitpid(writers[i], &status, 0) == writers[i] && status == 0);
        rig_drain(&rig, slots[i]);
    }
    double seconds = ((double)clock_wall_us() - begin) / 1e6;
    report(load, bytes, seconds, cpu_of(rig.logger) - before);
    rig_finish(&rig);
    rig_done(&rig);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "logger") == 0)
        return logger_run(STORE_INVENTORY_FD);
    if (argc < 2)
        return 2;
    size_t bytes = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1000) * 1000 * 1000;
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
        if (loads[i].bare)
            run_bare(&loads[i], argv[1], bytes);
        else
            run_logger(&loads[i], argv[1], bytes);
        remove_logs(argv[1]);
    }
    return 0;
}
