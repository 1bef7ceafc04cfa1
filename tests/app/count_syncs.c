/* Preloaded into PHP: appends a byte to the file $SYNC_COUNT at each fsync() and fdatasync(),
 * so that a test sees that a commit was synced and not just written. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int counted(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *file = getenv("SYNC_COUNT");
    int out = file ? open(file, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;

    if (out >= 0) {
        if (write(out, "s", 1) != 1) {
            abort();
        }
        close(out);
    }
    return real(fd);
}

int fsync(int fd)
{
    return counted("fsync", fd);
}

int fdatasync(int fd)
{
    return counted("fdatasync", fd);
}
