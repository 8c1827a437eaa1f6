/*
 * Writes down what a program does to files, with all data, so that a test can build what a loss of power at any moment may leave.
 * For LD_PRELOAD, alone or behind fault.so, whose FAULT_NOSYNC then keeps syncs from being seen here:
 *     cc -shared -fPIC -O2 -Wall -Wextra -o record.so record.c -ldl
 *
 *   RECORD_TO        an absolute path: one line per call, in their order. What others add to the same file, as the commands
 *                    of a run do, stands in that order too.
 *   RECORD_PROGRAMS  base names of the executables that are meant, with commas between (default switchover); every other
 *                    process is left alone
 *
 *   create FILE PATH      a file was made          sync FILE                all of it, or of a folder's names, is on the disk
 *   folder FILE PATH      a folder was made        rename PATH PATH
 *   write FILE AT HEX     bytes from AT on         link PATH PATH
 *   size FILE BYTES       cut, or made longer      unlink PATH              also of a folder
 *   send HEX              to another process
 *
 * FILE is device:inode; of one that was removed the number may come again, with a `create`. A call stands here once it has
 * returned, so that what is behind a `sync` was not covered by it; a `send` before it does anything. What a mapping in memory
 * changes is not seen (SQLite makes its -shm file anew after a crash).
 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#undef _FILE_OFFSET_BITS
#undef _TIME_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EVERY(X) X(write) X(writev) X(pwrite) X(pwrite64) X(pwritev) X(pwritev64) X(send) X(sendto) X(sendmsg) X(fsync) \
    X(fdatasync) X(open) X(open64) X(openat) X(openat64) X(creat) X(creat64) X(rename) X(renameat) X(renameat2) X(link) X(linkat) \
    X(unlink) X(unlinkat) X(rmdir) X(truncate) X(truncate64) X(ftruncate) X(ftruncate64) X(posix_fallocate) X(posix_fallocate64) \
    X(mkdir) X(mkdirat) X(fork)
#define DECLARE(name) static __typeof__(name) *real_##name;
#define RESOLVE(name) real_##name = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);
EVERY(DECLARE)
static void resolve(void) { EVERY(RESOLVE) }
/* Libraries may call before our constructor has run. */
#define NEXT(name) (real_##name ? real_##name : (resolve(), real_##name))

static int is_on;
static char to[PATH_MAX];

__attribute__((constructor)) static void begin(void)
{
    char path[PATH_MAX] = "";
    const char *given = getenv("RECORD_TO"), *programs = getenv("RECORD_PROGRAMS");
    char list[256], *rest = list, *name;
    if (readlink("/proc/self/exe", path, sizeof path - 1) < 0)
        return;
    snprintf(list, sizeof list, "%s", programs ? programs : "switchover");
    while ((name = strsep(&rest, ",")) && strcmp(strrchr(path, '/') + 1, name))
        ;
    if (!name)
        return;
    if (!given || given[0] != '/' || strlen(given) >= sizeof to) {
        fprintf(stderr, "record.so: RECORD_TO must be an absolute path\n");
        _exit(125);
    }
    resolve();
    strcpy(to, given);
    is_on = 1;
}

/* One write, so that lines of several processes do not mix. What cannot be written down must not look as if it never was. */
static void add(const char *line, size_t length)
{
    int file = (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || syscall(SYS_write, file, line, length) != (long)length)
        _exit(125);
    syscall(SYS_close, file);
}

static void tell(const char *format, ...)
{
    char line[3 * PATH_MAX];
    va_list rest;
    va_start(rest, format);
    int length = vsnprintf(line, sizeof line, format, rest);
    va_end(rest);
    if (length < 0 || (size_t)length >= sizeof line)
        _exit(125);
    add(line, (size_t)length);
}

static void tell_bytes(const char *what, const struct iovec *list, int n, size_t length)
{
    size_t at = strlen(what);
    char *line = malloc(at + 2 * length + 1);
    if (!line)
        _exit(125);
    memcpy(line, what, at);
    for (; n > 0 && length; list++, n--)
        for (size_t i = 0; i < list->iov_len && length; i++, length--) {
            unsigned char byte = ((const unsigned char *)list->iov_base)[i];
            line[at++] = "0123456789abcdef"[byte >> 4];
            line[at++] = "0123456789abcdef"[byte & 15];
        }
    line[at++] = '\n';
    add(line, at);
    free(line);
}

/* A path from the root on, without looking at what it leads to. */
static const char *whole(int folder, const char *path, char *out)
{
    char link[64];
    ssize_t length = 0;
    if (path[0] != '/') {
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
        if ((length = readlink(link, out, PATH_MAX - 1)) < 0)
            _exit(125);
        out[length++] = '/';
    }
    if ((size_t)snprintf(out + length, (size_t)(PATH_MAX - length), "%s", path) >= (size_t)(PATH_MAX - length))
        _exit(125);
    return out;
}

#define ID(found) (unsigned long)(found).st_dev, (unsigned long)(found).st_ino

static void wrote(int fd, const struct iovec *list, int n, ssize_t length, off64_t at)
{
    int saved = errno;
    struct stat64 found;
    if (is_on && length > 0 && !fstat64(fd, &found) && S_ISREG(found.st_mode)) {
        char what[96];
        /* Behind a write, also one that appends, the position is its end. */
        if (at < 0)
            at = lseek64(fd, 0, SEEK_CUR) - length;
        snprintf(what, sizeof what, "write %lu:%lu %lld ", ID(found), (long long)at);
        tell_bytes(what, list, n, (size_t)length);
    }
    errno = saved;
}

static void sends(const struct iovec *list, int n)
{
    size_t length = 0;
    for (int i = 0; i < n; i++)
        length += list[i].iov_len;
    if (is_on)
        tell_bytes("send ", list, n, length);
}

static void sends_to(int fd, const struct iovec *list, int n)
{
    int saved = errno;
    struct stat64 found;
    if (is_on && !fstat64(fd, &found) && S_ISSOCK(found.st_mode))
        sends(list, n);
    errno = saved;
}

static void sized(int fd, const char *path)
{
    int saved = errno;
    struct stat64 found;
    if (is_on && !(path ? stat64(path, &found) : fstat64(fd, &found)) && S_ISREG(found.st_mode))
        tell("size %lu:%lu %lld\n", ID(found), (long long)found.st_size);
    errno = saved;
}

static void synced(int fd)
{
    int saved = errno;
    struct stat64 found;
    if (is_on && !fstat64(fd, &found))
        tell("sync %lu:%lu\n", ID(found));
    errno = saved;
}

/* Before a file is opened: whether that makes it. */
static int makes(int folder, const char *path, int flags)
{
    int saved = errno;
    struct stat64 found;
    int is_new = is_on && (flags & O_CREAT) && fstatat64(folder, path, &found, AT_SYMLINK_NOFOLLOW);
    errno = saved;
    return is_new;
}

static int opened(int fd, int folder, const char *path, int flags, int is_new)
{
    int saved = errno;
    struct stat64 found;
    char out[PATH_MAX];
    if (is_on && fd >= 0 && !fstat64(fd, &found) && S_ISREG(found.st_mode)) {
        if (is_new)
            tell("create %lu:%lu %s\n", ID(found), whole(folder, path, out));
        else if (flags & O_TRUNC)
            tell("size %lu:%lu 0\n", ID(found));
    }
    errno = saved;
    return fd;
}

static int made(int failed, int folder, const char *path)
{
    int saved = errno;
    struct stat64 found;
    char out[PATH_MAX];
    if (is_on && !failed && !fstatat64(folder, path, &found, AT_SYMLINK_NOFOLLOW))
        tell("folder %lu:%lu %s\n", ID(found), whole(folder, path, out));
    errno = saved;
    return failed;
}

static int named(int failed, const char *what, int folder, const char *path, int other, const char *second)
{
    int saved = errno;
    char out[PATH_MAX], more[PATH_MAX];
    if (is_on && !failed)
        tell("%s %s%s%s\n", what, whole(folder, path, out), second ? " " : "", second ? whole(other, second, more) : "");
    errno = saved;
    return failed;
}

#define ONE(data, length) &(struct iovec){(void *)(data), length}, 1

ssize_t write(int fd, const void *data, size_t length)
{
    sends_to(fd, ONE(data, length));
    ssize_t result = NEXT(write)(fd, data, length);
    wrote(fd, ONE(data, length), result, -1);
    return result;
}
ssize_t writev(int fd, const struct iovec *list, int n)
{
    sends_to(fd, list, n);
    ssize_t result = NEXT(writev)(fd, list, n);
    wrote(fd, list, n, result, -1);
    return result;
}
#define PWRITE(pwrite, pwritev, off_t)                                                           \
    ssize_t pwrite(int fd, const void *data, size_t length, off_t at)                            \
    {                                                                                            \
        ssize_t result = NEXT(pwrite)(fd, data, length, at);                                     \
        wrote(fd, ONE(data, length), result, at);                                                \
        return result;                                                                           \
    }                                                                                            \
    ssize_t pwritev(int fd, const struct iovec *list, int n, off_t at)                           \
    {                                                                                            \
        ssize_t result = NEXT(pwritev)(fd, list, n, at);                                         \
        wrote(fd, list, n, result, at);                                                          \
        return result;                                                                           \
    }
PWRITE(pwrite, pwritev, off_t)
PWRITE(pwrite64, pwritev64, off64_t)
ssize_t send(int fd, const void *data, size_t length, int flags)
{
    sends(ONE(data, length));
    return NEXT(send)(fd, data, length, flags);
}
ssize_t sendto(int fd, const void *data, size_t length, int flags, __CONST_SOCKADDR_ARG address, socklen_t size)
{
    sends(ONE(data, length));
    return NEXT(sendto)(fd, data, length, flags, address, size);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    sends(message->msg_iov, (int)message->msg_iovlen);
    return NEXT(sendmsg)(fd, message, flags);
}

#define SYNC(fsync)                      \
    int fsync(int fd)                    \
    {                                    \
        int failed = NEXT(fsync)(fd);    \
        if (!failed)                     \
            synced(fd);                  \
        return failed;                   \
    }
SYNC(fsync)
SYNC(fdatasync)

#define MODE_OF(flags)                                                   \
    mode_t bits = 0;                                                     \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) {     \
        va_list rest;                                                    \
        va_start(rest, flags);                                           \
        bits = (mode_t)va_arg(rest, int);                                \
        va_end(rest);                                                    \
    }
#define OPEN(open, openat, creat)                                                                \
    int open(const char *path, int flags, ...)                                                   \
    {                                                                                            \
        MODE_OF(flags)                                                                           \
        int is_new = makes(AT_FDCWD, path, flags);                                               \
        return opened(NEXT(open)(path, flags, bits), AT_FDCWD, path, flags, is_new);             \
    }                                                                                            \
    int openat(int folder, const char *path, int flags, ...)                                     \
    {                                                                                            \
        MODE_OF(flags)                                                                           \
        int is_new = makes(folder, path, flags);                                                 \
        return opened(NEXT(openat)(folder, path, flags, bits), folder, path, flags, is_new);     \
    }                                                                                            \
    int creat(const char *path, mode_t bits)                                                     \
    {                                                                                            \
        int is_new = makes(AT_FDCWD, path, O_CREAT);                                             \
        return opened(NEXT(creat)(path, bits), AT_FDCWD, path, O_CREAT | O_TRUNC, is_new);       \
    }
OPEN(open, openat, creat)
OPEN(open64, openat64, creat64)

int rename(const char *from, const char *name) { return named(NEXT(rename)(from, name), "rename", AT_FDCWD, from, AT_FDCWD, name); }
int renameat(int old, const char *from, int new, const char *name)
{
    return named(NEXT(renameat)(old, from, new, name), "rename", old, from, new, name);
}
int renameat2(int old, const char *from, int new, const char *name, unsigned flags)
{
    if (is_on && flags & RENAME_EXCHANGE)
        _exit(125);
    return named(NEXT(renameat2)(old, from, new, name, flags), "rename", old, from, new, name);
}
int link(const char *from, const char *name) { return named(NEXT(link)(from, name), "link", AT_FDCWD, from, AT_FDCWD, name); }
int linkat(int old, const char *from, int new, const char *name, int flags)
{
    return named(NEXT(linkat)(old, from, new, name, flags), "link", old, from, new, name);
}
int unlink(const char *path) { return named(NEXT(unlink)(path), "unlink", AT_FDCWD, path, 0, 0); }
int unlinkat(int folder, const char *path, int flags) { return named(NEXT(unlinkat)(folder, path, flags), "unlink", folder, path, 0, 0); }
int rmdir(const char *path) { return named(NEXT(rmdir)(path), "unlink", AT_FDCWD, path, 0, 0); }
int mkdir(const char *path, mode_t bits) { return made(NEXT(mkdir)(path, bits), AT_FDCWD, path); }
int mkdirat(int folder, const char *path, mode_t bits) { return made(NEXT(mkdirat)(folder, path, bits), folder, path); }

#define SIZES(truncate, ftruncate, posix_fallocate, off_t)                 \
    int truncate(const char *path, off_t size)                             \
    {                                                                      \
        int failed = NEXT(truncate)(path, size);                           \
        if (!failed)                                                       \
            sized(-1, path);                                               \
        return failed;                                                     \
    }                                                                      \
    int ftruncate(int fd, off_t size)                                      \
    {                                                                      \
        int failed = NEXT(ftruncate)(fd, size);                            \
        if (!failed)                                                       \
            sized(fd, 0);                                                  \
        return failed;                                                     \
    }                                                                      \
    int posix_fallocate(int fd, off_t from, off_t size)                    \
    {                                                                      \
        int failed = NEXT(posix_fallocate)(fd, from, size);                \
        if (!failed)                                                       \
            sized(fd, 0);                                                  \
        return failed;                                                     \
    }
SIZES(truncate, ftruncate, posix_fallocate, off_t)
SIZES(truncate64, ftruncate64, posix_fallocate64, off64_t)

pid_t fork(void)
{
    pid_t child = NEXT(fork)();
    if (child == 0)
        is_on = 0; /* It has our memory, but is another process, at least until it executes something. */
    return child;
}
