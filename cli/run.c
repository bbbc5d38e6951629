#include "run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ui.h"

static volatile sig_atomic_t stop_asked;

static void on_stop(int sig)
{
    (void)sig;
    stop_asked = 1;
}

static int cancelled(void *user)
{
    (void)user;
    return stop_asked;
}

/* ---- SIGBUS: only functions that a signal handler may call ---- */

static void say(const char *text, size_t n)
{
    while (n > 0) {
        ssize_t k = write(STDERR_FILENO, text, n);
        if (k <= 0) return;
        text += k;
        n -= (size_t)k;
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *read_hex(const char *s, uintptr_t *out)
{
    *out = 0;
    for (; hex_digit(*s) >= 0; s++) *out = *out << 4 | (uintptr_t)hex_digit(*s);
    return s;
}

/* Does a line of /proc/self/maps, "from-to perms offset dev inode    /path", hold `address`? Then its path.
 */
static const char *line_path(const char *line, uintptr_t address)
{
    uintptr_t from, to;
    const char *s = read_hex(line, &from);
    if (*s != '-') return NULL;
    read_hex(s + 1, &to);
    return address >= from && address < to ? strchr(line, '/') : NULL;
}

/* Text for the inside of a JSON string: what is not plain ASCII becomes '?'. */
static void make_plain(char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~' || *text == '"' || *text == '\\') *text = '?';
}

/* The name of the file mapped at `address` into name [size], "" when there is no telling. */
static void mapped_file(uintptr_t address, char *name, size_t size)
{
    static char line[4400];
    size_t n = 0;
    char buf[512];
    name[0] = 0;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    for (ssize_t k; !name[0] && (k = read(fd, buf, sizeof buf)) > 0;) {
        for (ssize_t i = 0; i < k && !name[0]; i++) {
            if (buf[i] != '\n') {
                if (n + 1 < sizeof line) line[n++] = buf[i];
                continue;
            }
            line[n] = 0;
            n = 0;
            const char *path = line_path(line, address);
            if (path && strlen(path) < size) memcpy(name, path, strlen(path) + 1);
        }
    }
    close(fd);
}

static void on_bus(int sig, siginfo_t *info, void *context)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    static const char what[] = "a file in use was made shorter by another program, or its disk failed";
    static const char json[] = "{\"error\": {\"status\": \"WAN_EIO\", \"exit\": 1, \"message\": \"",
                      end[] = "\"}}";
    static char name[4096];
    (void)sig;
    (void)context;
    /* several threads may meet the missing pages at once: one tells, the others wait for the end */
    while (atomic_flag_test_and_set(&told)) pause();
    mapped_file((uintptr_t)info->si_addr, name, sizeof name);
    if (ui_is_json()) make_plain(name);
    say("\n", 1);
    say(ui_is_json() ? json : "wan: ", ui_is_json() ? sizeof json - 1 : 5);
    say(what, sizeof what - 1);
    if (name[0]) say(": ", 2);
    say(name, strlen(name));
    if (ui_is_json()) say(end, sizeof end - 1);
    say("\n", 1);
    _exit(EXIT_ERROR);
}

void run_catch_signals(void)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction stop = {.sa_handler = on_stop, .sa_flags = (int)SA_RESETHAND};
    struct sigaction bus = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    sigemptyset(&stop.sa_mask);
    sigemptyset(&bus.sa_mask);
    struct sigaction hup;
    bool nohup = !sigaction(SIGHUP, NULL, &hup) && hup.sa_handler == SIG_IGN; /* then it stays ignored */
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        if (stops[i] != SIGHUP || !nohup) sigaction(stops[i], &stop, NULL);
    sigaction(SIGBUS, &bus, NULL);
}

/* ---- context ---- */

void run_options(struct run_args *a, struct opt *opts, size_t *n)
{
    const struct opt own[RUN_N_OPTIONS] = {
        {"device", NULL, OPT_STRING, &a->device, 0, 0, "name", "cpu",
         "where to compute: auto, cpu, mlx (where built in), or ref (plain C, slow)"},
        {"isa", NULL, OPT_STRING, &a->isa, 0, 0, "name", "avx2",
         "highest instruction set to use; otherwise the best there is"},
        {"threads", NULL, OPT_INT, &a->threads, 0, 4096, "", "8", "threads; 0 is one for each core"},
        {"max-memory", NULL, OPT_BYTES, &a->max_memory, 0, 0, "", "8GiB",
         "most memory to use, without weights mapped from files"},
        {"json", NULL, OPT_FLAG, &a->json, 0, 0, "", "",
         "results, progress and errors as JSON, for programs: see the documentation"},
        {"quiet", "q", OPT_FLAG, &a->quiet, 0, 0, "", "", "say nothing but errors"},
        {"verbose", "v", OPT_FLAG, &a->verbose, 0, 0, "", "", "say more"},
        {"trace", NULL, OPT_FLAG, &a->trace, 0, 0, "", "", "say each operation's time and shape"},
        {"help", "h", OPT_FLAG, &a->help, 0, 0, "", "", "this text"},
    };
    memcpy(opts + *n, own, sizeof own);
    *n += RUN_N_OPTIONS;
}

int run_context(struct wan_context **ctx, const struct run_args *a)
{
    struct wan_context_params params =
        *wan_context_params(.device = a->device, .isa = a->isa, .threads = a->threads, .trace = a->trace,
                            .max_memory = a->max_memory);
    params.log = ui_log;
    params.cancelled = cancelled;
    ui_set_level(a->quiet ? UI_QUIET : a->verbose ? UI_VERBOSE : UI_NORMAL);
    enum wan_status status = wan_context_new(ctx, &params);
    /* a device or instruction set that is not here is for the command line to change */
    if (status == WAN_EUNSUPPORTED) return ui_fail_as(status, EXIT_USAGE, "%s", wan_error(*ctx));
    return status ? ui_fail_status(status, *ctx, EXIT_USAGE) : 0;
}

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int run_check_precision(const char *option, const char *name)
{
    if (!name || !strcmp(name, "f32") || !strcmp(name, "f32x") || !strcmp(name, "bf16")) return 0;
    return ui_fail(EXIT_USAGE, "--%s must be f32, f32x or bf16, not '%s'", option, name);
}
