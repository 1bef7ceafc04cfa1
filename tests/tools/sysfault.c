/*
 * sysfault.c -- a countdown over system calls, preloaded into a program of a test.
 *
 * The file SYSFAULT_FILE holds a struct control, which the test changes while the
 * program runs (tools/sysfault.py).  While `armed`, each call of a kind in `mask`
 * counts `left` down; the call that takes it to 0 is not made: the process is killed
 * (SIGKILL), or the call fails with `error`, or it does half of what it was asked for,
 * or it is made STALL_S late, as on a disk that stands still.
 * Then nothing is armed any more.  A process whose first argument is not
 * SYSFAULT_ARGUMENT does not take part.
 *
 * Calls of the program's libraries count too (SQLite's, libcurl's): all go through
 * the names of libc.  Left out are files that are neither regular files, folders nor
 * sockets (logs, pipes, eventfd), and threads that wait in epoll_wait(): they carry the
 * requests of clients.  Calls are made by number, so nothing depends on which of
 * libc's names leads to which; for 64-bit machines.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { WRITE, SYNC, NAME, NET, LOCK, READ, KINDS };
enum action { KILL = 1, FAIL, SHORT, STALL };

#define STALL_S 6

struct control {
    _Atomic uint32_t armed, mask, action, error;
    _Atomic int64_t left;
    _Atomic uint32_t hit, pid;   /* of the process that was hit */
    char what[96];               /* the call and its file */
    _Atomic uint64_t seen[KINDS];/* calls of each kind while it was armed */
};

static struct control *control;
static __thread int is_event_loop;

__attribute__((constructor)) static void begin(int argc, char **argv)
{
    const char *path = getenv("SYSFAULT_FILE"), *wanted = getenv("SYSFAULT_ARGUMENT");
    int fd = path == NULL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    void *at = fd < 0 ? MAP_FAILED
        : (void *)syscall(SYS_mmap, NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (at != MAP_FAILED && (wanted == NULL || (argc > 1 && strcmp(argv[1], wanted) == 0))) {
        control = at;
    }
    if (fd >= 0) {
        syscall(SYS_close, fd);
    }
}

static int is_counted(int fd)
{
    struct stat st;

    return fd > 2 && fstat(fd, &st) == 0
        && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISSOCK(st.st_mode));
}

static void tell(const char *call, int fd, const char *path)
{
    char link[32], target[64] = "";

    if (path == NULL) {
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        path = target;
    }
    if (strlen(path) > 60) {
        path += strlen(path) - 60;
    }
    snprintf(control->what, sizeof(control->what), "%s %s", call, path);
}

/* 0: make the call; FAIL (errno is set), SHORT, or STALL: it has waited. */
static int count(enum kind kind, const char *call, int fd, const char *path)
{
    uint32_t action;

    if (control == NULL || !atomic_load(&control->armed) || is_event_loop) {
        return 0;
    }
    if (path == NULL && !is_counted(fd)) {
        return 0;
    }
    atomic_fetch_add(&control->seen[kind], 1);
    if (!(atomic_load(&control->mask) & 1u << kind) || atomic_fetch_sub(&control->left, 1) != 1) {
        return 0;
    }
    atomic_store(&control->armed, 0);
    action = atomic_load(&control->action);
    tell(call, fd, path);
    atomic_store(&control->pid, (uint32_t)getpid());
    atomic_store(&control->hit, 1);
    if (action == KILL) {
        syscall(SYS_kill, getpid(), SIGKILL);
    }
    if (action == STALL) {
        sleep(STALL_S);
    }
    errno = (int)atomic_load(&control->error);
    return (int)action;
}

static size_t some(int act, size_t len)
{
    return act == SHORT && len > 1 ? len / 2 : len;
}

/* --- threads that carry requests ------------------------------------------------------- */

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    is_event_loop = 1;
    return (int)syscall(SYS_epoll_pwait, fd, events, max, timeout, NULL, 8);
}

/* --- files ------------------------------------------------------------------------------- */

ssize_t write(int fd, const void *data, size_t len)
{
    int act = count(WRITE, "write", fd, NULL);

    return act == FAIL ? -1 : syscall(SYS_write, fd, data, some(act, len));
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    int act = count(WRITE, "pwrite", fd, NULL);

    return act == FAIL ? -1 : syscall(SYS_pwrite64, fd, data, some(act, len), offset);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return pwrite64(fd, data, len, offset);
}

int ftruncate64(int fd, off64_t len)
{
    return count(WRITE, "ftruncate", fd, NULL) == FAIL ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int ftruncate(int fd, off_t len)
{
    return ftruncate64(fd, len);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
    return count(WRITE, "fallocate", fd, NULL) == FAIL ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    return fallocate64(fd, mode, offset, len);
}

int posix_fallocate64(int fd, off64_t offset, off64_t len)
{
    return fallocate64(fd, 0, offset, len) == 0 ? 0 : errno;
}

int posix_fallocate(int fd, off_t offset, off_t len)
{
    return posix_fallocate64(fd, offset, len);
}

int fsync(int fd)
{
    return count(SYNC, "fsync", fd, NULL) == FAIL ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return count(SYNC, "fdatasync", fd, NULL) == FAIL ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int sync_file_range(int fd, off64_t offset, off64_t len, unsigned flags)
{
    return count(SYNC, "sync_file_range", fd, NULL) == FAIL ? -1
        : (int)syscall(SYS_sync_file_range, fd, offset, len, flags);
}

ssize_t read(int fd, void *data, size_t len)
{
    int act = count(READ, "read", fd, NULL);

    return act == FAIL ? -1 : syscall(SYS_read, fd, data, some(act, len));
}

ssize_t __read_chk(int fd, void *data, size_t len, size_t room)
{
    (void)room;
    return read(fd, data, len);
}

ssize_t pread64(int fd, void *data, size_t len, off64_t offset)
{
    int act = count(READ, "pread", fd, NULL);

    return act == FAIL ? -1 : syscall(SYS_pread64, fd, data, some(act, len), offset);
}

ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
    return pread64(fd, data, len, offset);
}

ssize_t __pread_chk(int fd, void *data, size_t len, off_t offset, size_t room)
{
    (void)room;
    return pread64(fd, data, len, offset);
}

ssize_t __pread64_chk(int fd, void *data, size_t len, off64_t offset, size_t room)
{
    (void)room;
    return pread64(fd, data, len, offset);
}

void *mmap64(void *at, size_t len, int prot, int flags, int fd, off64_t offset)
{
    if (fd >= 0 && (flags & MAP_SHARED) && count(READ, "mmap", fd, NULL) == FAIL) {
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, len, prot, flags, fd, offset);
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    return mmap64(at, len, prot, flags, fd, offset);
}

/* --- names --------------------------------------------------------------------------------- */

static int do_open(const char *path, int flags, mode_t mode)
{
    if (strncmp(path, "/dev/", 5) != 0 && count(NAME, "open", -1, path) == FAIL) {
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list list;

    if (flags & (O_CREAT | O_TMPFILE)) {
        va_start(list, flags);
        mode = va_arg(list, mode_t);
        va_end(list);
    }
    return do_open(path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int __open_2(const char *path, int flags)
{
    return do_open(path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return do_open(path, flags, 0);
}

int rename(const char *from, const char *to)
{
    return count(NAME, "rename", -1, from) == FAIL ? -1
        : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path)
{
    return count(NAME, "unlink", -1, path) == FAIL ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* --- locks --------------------------------------------------------------------------------- */

int fcntl(int fd, int command, ...)
{
    int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK
        || command == F_OFD_SETLKW;
    const struct flock *lock;
    void *argument;
    va_list list;

    va_start(list, command);
    argument = va_arg(list, void *);
    va_end(list);
    lock = argument;
    /* Nothing makes the kernel refuse to give a lock back: only death comes there. */
    if (locks && !(lock->l_type == F_UNLCK && control != NULL && atomic_load(&control->action) == FAIL)
        && count(LOCK, "fcntl", fd, NULL) == FAIL) {
        return -1;
    }
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

int fcntl64(int fd, int command, ...) __attribute__((alias("fcntl")));

int flock(int fd, int operation)
{
    return count(LOCK, "flock", fd, NULL) == FAIL ? -1 : (int)syscall(SYS_flock, fd, operation);
}

/* --- network ------------------------------------------------------------------------------- */

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    return count(NET, "connect", fd, NULL) == FAIL ? -1 : (int)syscall(SYS_connect, fd, to, len);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    int act = count(NET, "send", fd, NULL);

    return act == FAIL ? -1 : syscall(SYS_sendto, fd, data, some(act, len), flags, NULL, 0);
}

ssize_t sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
    int act = count(NET, "sendto", fd, NULL);

    return act == FAIL ? -1 : syscall(SYS_sendto, fd, data, some(act, len), flags, to, to_len);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return count(NET, "sendmsg", fd, NULL) == FAIL ? -1 : syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    int act = count(NET, "recv", fd, NULL);

    return act == FAIL ? -1 : syscall(SYS_recvfrom, fd, data, some(act, len), flags, NULL, NULL);
}

ssize_t __recv_chk(int fd, void *data, size_t len, size_t room, int flags)
{
    (void)room;
    return recv(fd, data, len, flags);
}

ssize_t recvfrom(int fd, void *data, size_t len, int flags, struct sockaddr *from, socklen_t *from_len)
{
    int act = count(NET, "recvfrom", fd, NULL);

    return act == FAIL ? -1 : syscall(SYS_recvfrom, fd, data, some(act, len), flags, from, from_len);
}

int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    return count(NET, "accept", fd, NULL) == FAIL ? -1 : (int)syscall(SYS_accept4, fd, from, len, flags);
}

int accept(int fd, struct sockaddr *from, socklen_t *len)
{
    return accept4(fd, from, len, 0);
}
