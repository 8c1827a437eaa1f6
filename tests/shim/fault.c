/*
 * Kills or fails a program at its Nth outward call, so that a test can count N up until nothing fires any more. For LD_PRELOAD:
 *     cc -shared -fPIC -O2 -Wall -Wextra -o fault.so fault.c -ldl
 *
 *   FAULT_PROGRAM  base name of the executable that is meant (default switchover); every other process is left alone
 *   FAULT_ROLE     executor (argv[1] is not "keep"), keeper (it is), any (default)
 *   FAULT_AT       the number of the call that triggers, from 1, counted per process; 0 or unset: only count
 *   FAULT_MODE     kill-before, kill-after (whatever the call returned), fail (this call), fail-on (this and all later ones),
 *                  short (counts only writes: this one writes half, all later ones fail with ENOSPC)
 *   FAULT_ERRNO    for fail and fail-on: a number or one of the names below (default EIO)
 *   FAULT_CALLS    what counts, of: write sync open rename unlink truncate mkdir spawn socket read (default: all but the last two)
 *   FAULT_LOG      an absolute path: one line per counted call, "<role> <pid> <n> <call> <paths>", with " FIRED" at its end if it
 *                  did; and "<role> <pid> ended" of a process that comes to its own end, which one that is killed does not
 *   FAULT_NOSYNC   1: fsync and fdatasync count, but do nothing (a killed process loses nothing by that)
 *
 * What does not count: files below /proc, /sys and /dev (but /dev/shm does), pipes, terminals, opening to read only. A setting that
 * is not understood ends the program with 125, lest a test pass because nothing was ever injected.
 */
#define _GNU_SOURCE
/* With these set, the headers would turn the names below into inline functions or into each other. */
#undef _FORTIFY_SOURCE
#undef _FILE_OFFSET_BITS
#undef _TIME_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Never add a name that the libc may lack (such as pidfd_spawnp): programs ask for those and would find ours. */
#define EVERY(X) X(write) X(writev) X(pwrite) X(pwrite64) X(pwritev) X(pwritev64) X(send) X(sendto) X(sendmsg) X(read) X(pread) \
    X(pread64) X(fsync) X(fdatasync) X(open) X(open64) X(openat) X(openat64) X(creat) X(creat64) X(rename) X(renameat) X(renameat2) \
    X(unlink) X(unlinkat) X(rmdir) X(truncate) X(truncate64) X(ftruncate) X(ftruncate64) X(fallocate) X(fallocate64) \
    X(posix_fallocate) X(posix_fallocate64) X(mkdir) X(mkdirat) X(posix_spawn) X(posix_spawnp) X(fork)
#define DECLARE(name) static __typeof__(name) *real_##name;
#define RESOLVE(name) real_##name = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);
EVERY(DECLARE)
static void resolve(void) { EVERY(RESOLVE) }
/* Libraries may call before our constructor has run. After it, a signal handler never meets dlsym. */
#define NEXT(name) (real_##name ? real_##name : (resolve(), real_##name))

enum { WRITE = 1, SYNC = 2, OPEN = 4, RENAME = 8, UNLINK = 16, TRUNCATE = 32, MKDIR = 64, SPAWN = 128, SOCKET = 256, READ = 512 };
enum mode { NONE, KILL_BEFORE, KILL_AFTER, FAIL, FAIL_ON, SHORT };
struct word { const char *name; int value; };
static const struct word CLASSES[] = {{"write", WRITE}, {"sync", SYNC}, {"open", OPEN}, {"rename", RENAME}, {"unlink", UNLINK},
    {"truncate", TRUNCATE}, {"mkdir", MKDIR}, {"spawn", SPAWN}, {"socket", SOCKET}, {"read", READ}, {0, 0}};
static const struct word MODES[] = {{"kill-before", KILL_BEFORE}, {"kill-after", KILL_AFTER}, {"fail", FAIL}, {"fail-on", FAIL_ON},
    {"short", SHORT}, {0, 0}};
static const struct word ERRORS[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EROFS", EROFS}, {"EACCES", EACCES},
    {"EPERM", EPERM}, {"ENOENT", ENOENT}, {"EMFILE", EMFILE}, {"ENOMEM", ENOMEM}, {"EAGAIN", EAGAIN}, {"EINTR", EINTR}, {0, 0}};
static const struct word ROLES[] = {{"executor", 1}, {"keeper", 2}, {"any", 3}, {0, 0}};

static int counting; /* the classes that count; 0: inert */
static enum mode mode;
static long at;
static int error_number, no_sync;
static const char *role;
static char log_path[PATH_MAX];
static atomic_long counted;

static int look_up(const struct word *words, const char *name, const char *variable)
{
    for (; words->name; words++)
        if (!strcmp(words->name, name))
            return words->value;
    fprintf(stderr, "fault.so: %s does not know `%s`\n", variable, name);
    _exit(125);
}

static int number(const char *variable, int otherwise)
{
    const char *text = getenv(variable);
    char *end;
    long value = text ? strtol(text, &end, 10) : otherwise;
    return text && (!*text || *end) ? look_up(ERRORS, text, variable) : (int)value;
}

static const char *setting(const char *variable, const char *otherwise)
{
    const char *text = getenv(variable);
    return text && *text ? text : otherwise;
}

__attribute__((constructor)) static void begin(void)
{
    char path[PATH_MAX] = "", line[PATH_MAX] = "", calls[256], *rest = calls;
    if (readlink("/proc/self/exe", path, sizeof path - 1) < 0 || strcmp(strrchr(path, '/') + 1, setting("FAULT_PROGRAM", "switchover")))
        return;
    int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    if (file < 0 || read(file, line, sizeof line - 1) < 0)
        _exit(125);
    close(file);
    int keeps = !strcmp(line + strlen(line) + 1, "keep");
    if (!(look_up(ROLES, setting("FAULT_ROLE", "any"), "FAULT_ROLE") & (keeps ? 2 : 1)))
        return;
    resolve();
    role = keeps ? "keeper" : "executor";
    at = number("FAULT_AT", 0);
    mode = at ? (enum mode)look_up(MODES, setting("FAULT_MODE", ""), "FAULT_MODE") : NONE;
    error_number = mode == SHORT ? ENOSPC : number("FAULT_ERRNO", EIO);
    no_sync = number("FAULT_NOSYNC", 0);
    snprintf(log_path, sizeof log_path, "%s", setting("FAULT_LOG", ""));
    snprintf(calls, sizeof calls, "%s", setting("FAULT_CALLS", "write,sync,open,rename,unlink,truncate,mkdir,spawn"));
    int classes = 0;
    for (char *call; (call = strsep(&rest, ","));)
        classes |= look_up(CLASSES, call, "FAULT_CALLS");
    counting = mode == SHORT ? WRITE : classes; /* from here on it counts */
}

static int is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int is_inward(const char *path)
{
    return is_below(path, "/proc") || is_below(path, "/sys") || !strncmp(path, "/memfd:", 7)
        || (is_below(path, "/dev") && !is_below(path, "/dev/shm"));
}

/* Opened anew each time, so that no descriptor is there for the program to inherit or to close. */
static void add(const char *to, const char *line, size_t length)
{
    int file = to[0] ? (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file >= 0) {
        syscall(SYS_write, file, line, length);
        syscall(SYS_close, file);
    }
}

static void note(long n, const char *call, const char *path, const char *more, int fires)
{
    char line[2 * PATH_MAX + 128];
    int length = snprintf(line, sizeof line, "%s %d %ld %s %s%s%s%s\n", role, (int)getpid(), n, call, path, more ? " " : "",
        more ? more : "", fires ? " FIRED" : "");
    add(log_path, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

__attribute__((destructor)) static void end(void)
{
    char line[64];
    if (counting)
        add(log_path, line, (size_t)snprintf(line, sizeof line, "%s %d ended\n", role, (int)getpid()));
}

static void die(void)
{
    for (;;)
        kill(getpid(), SIGKILL);
}

/* Counts a call and says what is to happen to it: NONE, FAIL, SHORT or KILL_AFTER. A call on a descriptor has no path. */
static enum mode count(int class, const char *call, int fd, const char *path, const char *more)
{
    if (!(counting & (class == WRITE ? WRITE | SOCKET : class)))
        return NONE;
    int saved = errno;
    enum mode what = NONE;
    char link[64], target[PATH_MAX] = "";
    if (!path) {
        struct stat64 found;
        if (fstat64(fd, &found))
            goto done;
        if (S_ISSOCK(found.st_mode) ? class != WRITE && class != SOCKET : !S_ISREG(found.st_mode) && !(S_ISDIR(found.st_mode) && class == SYNC))
            goto done;
        if (!(counting & (S_ISSOCK(found.st_mode) ? SOCKET : class)))
            goto done;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof target - 1) < 0)
            goto done;
        path = target;
    }
    if (is_inward(path))
        goto done;
    long n = atomic_fetch_add(&counted, 1) + 1;
    if (mode != NONE && (n == at || (n > at && (mode == FAIL_ON || mode == SHORT))))
        what = mode == FAIL_ON || n > at ? FAIL : mode;
    note(n, call, path, more, what != NONE);
    if (what == KILL_BEFORE)
        die();
done:
    errno = saved;
    return what;
}

/* The body of a wrapper: `failed` is what the call returns for an error, `real` the call itself. */
#define COUNTED(class, fd, path, more, failed, real)                     \
    enum mode what = count(class, __func__, fd, path, more);             \
    if (what == FAIL)                                                    \
        return failed;                                                   \
    __typeof__(real) result = real;                                      \
    if (what == KILL_AFTER)                                              \
        die();                                                           \
    return result
#define MINUS (errno = error_number, -1)

/* Of a write that is cut short, half is written; of a single byte, nothing can be. */
#define WRITTEN(fd, length, half, real)                                  \
    enum mode what = count(WRITE, __func__, fd, 0, 0);                   \
    if (what == FAIL || (what == SHORT && (length) < 2))                 \
        return MINUS;                                                    \
    ssize_t result = what == SHORT ? half : real;                        \
    if (what == KILL_AFTER)                                              \
        die();                                                           \
    return result
#define FIRST(list, n) ((n) > 0 ? (list)[0].iov_len : 0)
#define BASE(list) (list)[0].iov_base

ssize_t write(int fd, const void *data, size_t length) { WRITTEN(fd, length, NEXT(write)(fd, data, length / 2), NEXT(write)(fd, data, length)); }
ssize_t writev(int fd, const struct iovec *list, int n)
{
    WRITTEN(fd, FIRST(list, n), NEXT(write)(fd, BASE(list), FIRST(list, n) / 2), NEXT(writev)(fd, list, n));
}
#define PWRITE(pwrite, pwritev, off_t)                                                                                          \
    ssize_t pwrite(int fd, const void *data, size_t length, off_t to)                                                           \
    {                                                                                                                           \
        WRITTEN(fd, length, NEXT(pwrite)(fd, data, length / 2, to), NEXT(pwrite)(fd, data, length, to));                        \
    }                                                                                                                           \
    ssize_t pwritev(int fd, const struct iovec *list, int n, off_t to)                                                          \
    {                                                                                                                           \
        WRITTEN(fd, FIRST(list, n), NEXT(pwrite)(fd, BASE(list), FIRST(list, n) / 2, to), NEXT(pwritev)(fd, list, n, to));      \
    }
PWRITE(pwrite, pwritev, off_t)
PWRITE(pwrite64, pwritev64, off64_t)
ssize_t send(int fd, const void *data, size_t length, int flags) { COUNTED(SOCKET, fd, 0, 0, MINUS, NEXT(send)(fd, data, length, flags)); }
ssize_t sendto(int fd, const void *data, size_t length, int flags, __CONST_SOCKADDR_ARG to, socklen_t size)
{
    COUNTED(SOCKET, fd, 0, 0, MINUS, NEXT(sendto)(fd, data, length, flags, to, size));
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) { COUNTED(SOCKET, fd, 0, 0, MINUS, NEXT(sendmsg)(fd, message, flags)); }

ssize_t read(int fd, void *data, size_t length) { COUNTED(READ, fd, 0, 0, MINUS, NEXT(read)(fd, data, length)); }
ssize_t pread(int fd, void *data, size_t length, off_t from) { COUNTED(READ, fd, 0, 0, MINUS, NEXT(pread)(fd, data, length, from)); }
ssize_t pread64(int fd, void *data, size_t length, off64_t from) { COUNTED(READ, fd, 0, 0, MINUS, NEXT(pread64)(fd, data, length, from)); }

int fsync(int fd) { COUNTED(SYNC, fd, 0, 0, MINUS, no_sync ? 0 : NEXT(fsync)(fd)); }
int fdatasync(int fd) { COUNTED(SYNC, fd, 0, 0, MINUS, no_sync ? 0 : NEXT(fdatasync)(fd)); }

/* Only a call that makes a file passes a mode. */
#define MODE_OF(flags)                                                   \
    mode_t bits = 0;                                                     \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) {     \
        va_list rest;                                                    \
        va_start(rest, flags);                                           \
        bits = (mode_t)va_arg(rest, int);                                \
        va_end(rest);                                                    \
    }
#define OPENS(flags) (((flags) & (O_CREAT | O_ACCMODE)) ? OPEN : 0)
int open(const char *path, int flags, ...) { MODE_OF(flags) COUNTED(OPENS(flags), -1, path, 0, MINUS, NEXT(open)(path, flags, bits)); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) COUNTED(OPENS(flags), -1, path, 0, MINUS, NEXT(open64)(path, flags, bits)); }
int openat(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags) COUNTED(OPENS(flags), -1, path, 0, MINUS, NEXT(openat)(folder, path, flags, bits));
}
int openat64(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags) COUNTED(OPENS(flags), -1, path, 0, MINUS, NEXT(openat64)(folder, path, flags, bits));
}
int creat(const char *path, mode_t bits) { COUNTED(OPEN, -1, path, 0, MINUS, NEXT(creat)(path, bits)); }
int creat64(const char *path, mode_t bits) { COUNTED(OPEN, -1, path, 0, MINUS, NEXT(creat64)(path, bits)); }

int rename(const char *from, const char *to) { COUNTED(RENAME, -1, from, to, MINUS, NEXT(rename)(from, to)); }
int renameat(int old, const char *from, int new, const char *to) { COUNTED(RENAME, -1, from, to, MINUS, NEXT(renameat)(old, from, new, to)); }
int renameat2(int old, const char *from, int new, const char *to, unsigned flags)
{
    COUNTED(RENAME, -1, from, to, MINUS, NEXT(renameat2)(old, from, new, to, flags));
}
int unlink(const char *path) { COUNTED(UNLINK, -1, path, 0, MINUS, NEXT(unlink)(path)); }
int unlinkat(int folder, const char *path, int flags) { COUNTED(UNLINK, -1, path, 0, MINUS, NEXT(unlinkat)(folder, path, flags)); }
int rmdir(const char *path) { COUNTED(UNLINK, -1, path, 0, MINUS, NEXT(rmdir)(path)); }
int mkdir(const char *path, mode_t bits) { COUNTED(MKDIR, -1, path, 0, MINUS, NEXT(mkdir)(path, bits)); }
int mkdirat(int folder, const char *path, mode_t bits) { COUNTED(MKDIR, -1, path, 0, MINUS, NEXT(mkdirat)(folder, path, bits)); }

#define SIZES(truncate, ftruncate, fallocate, posix_fallocate, off_t)                                                           \
    int truncate(const char *path, off_t size) { COUNTED(TRUNCATE, -1, path, 0, MINUS, NEXT(truncate)(path, size)); }           \
    int ftruncate(int fd, off_t size) { COUNTED(TRUNCATE, fd, 0, 0, MINUS, NEXT(ftruncate)(fd, size)); }                        \
    int fallocate(int fd, int how, off_t from, off_t size) { COUNTED(TRUNCATE, fd, 0, 0, MINUS, NEXT(fallocate)(fd, how, from, size)); } \
    int posix_fallocate(int fd, off_t from, off_t size) { COUNTED(TRUNCATE, fd, 0, 0, error_number, NEXT(posix_fallocate)(fd, from, size)); }
SIZES(truncate, ftruncate, fallocate, posix_fallocate, off_t)
SIZES(truncate64, ftruncate64, fallocate64, posix_fallocate64, off64_t)

#define SPAWN_OF(spawn)                                                                                                         \
    int spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,     \
        char *const arguments[], char *const environment[])                                                                     \
    {                                                                                                                           \
        const char *first = arguments[0] ? arguments[1] : 0;                                                                    \
        COUNTED(SPAWN, -1, path, first, error_number, NEXT(spawn)(pid, path, actions, attributes, arguments, environment));     \
    }
SPAWN_OF(posix_spawn)
SPAWN_OF(posix_spawnp)

pid_t fork(void)
{
    enum mode what = count(SPAWN, __func__, -1, "-", 0);
    if (what == FAIL)
        return MINUS;
    pid_t child = NEXT(fork)();
    if (child == 0)
        counting = 0; /* It has our memory, but is another process: not counted, at least until it executes something. */
    else if (what == KILL_AFTER)
        die();
    return child;
}
