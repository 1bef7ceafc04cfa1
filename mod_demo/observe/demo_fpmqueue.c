#include "mod_demo/observe/demo_fpmqueue.h"

#include <errno.h>
#include <limits.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { ANSWER_MAX = 32768 }; /* as the kernel fills a dump's datagrams */

static int ask(int fd)
{
    struct {
        struct nlmsghdr     head;
        struct unix_diag_req rq;
    } msg;
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

    memset(&msg, 0, sizeof(msg));
    msg.head.nlmsg_len = sizeof(msg);
    msg.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    msg.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    msg.rq.sdiag_family = AF_UNIX;
    msg.rq.udiag_states = 1u << TCP_LISTEN;
    msg.rq.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_RQLEN;
    ssize_t n = sendto(fd, &msg, sizeof(msg), 0, (struct sockaddr *)&kernel, sizeof(kernel));
    return n == (ssize_t)sizeof(msg) ? 0 : n < 0 ? errno : EIO;
}

/* The kernel's form of a device: 20 bits of minor. */
static uint32_t kernel_dev(dev_t dev)
{
    return major(dev) << 20 | minor(dev);
}

/* How sure it is that this is the socket: 0 it is not, 1 it has the inode, 2 the
 * device, too.  The inode decides: paths may be spelled in several ways, and an
 * unlinked socket of the same name may still be open.  Each tmpfs counts its own
 * inodes from 1; but some file systems tell stat() another device than the kernel. */
static int match(const struct nlmsghdr *head, const struct stat *file, demo_fpmqueue *queue)
{
    const struct unix_diag_msg *m = NLMSG_DATA(head);
    int found = 0, has_queue = 0;
    long len = (long)head->nlmsg_len - (long)NLMSG_LENGTH(sizeof(*m));

    for (const struct rtattr *a = (const void *)(m + 1); len > 0 && RTA_OK(a, len); a = RTA_NEXT(a, len)) {
        if (a->rta_type == UNIX_DIAG_VFS && RTA_PAYLOAD(a) >= sizeof(struct unix_diag_vfs)) {
            struct unix_diag_vfs vfs;
            memcpy(&vfs, RTA_DATA(a), sizeof(vfs));
            found = vfs.udiag_vfs_ino != (uint32_t)file->st_ino ? 0
                  : vfs.udiag_vfs_dev == kernel_dev(file->st_dev) ? 2 : 1;
        }
        else if (a->rta_type == UNIX_DIAG_RQLEN && RTA_PAYLOAD(a) >= sizeof(struct unix_diag_rqlen)) {
            struct unix_diag_rqlen rqlen;
            memcpy(&rqlen, RTA_DATA(a), sizeof(rqlen));
            queue->waiting = rqlen.udiag_rqueue;
            queue->max = rqlen.udiag_wqueue;
            has_queue = 1;
        }
    }
    return has_queue ? found : 0;
}

/* Reads the dump to its end or to the socket looked for. */
static int answer(int fd, const struct stat *file, demo_fpmqueue *queue)
{
    _Alignas(struct nlmsghdr) char buf[ANSWER_MAX];
    int best = 0;

    for (;;) {
        ssize_t got = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? errno : EIO;
        }
        long n = (long)got;
        for (const struct nlmsghdr *h = (const void *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            if (h->nlmsg_type == NLMSG_DONE) {
                return best > 0 ? 0 : ENOENT;
            }
            if (h->nlmsg_type == NLMSG_ERROR) {
                const struct nlmsgerr *e = NLMSG_DATA(h);
                return e->error != 0 ? -e->error : EIO;
            }
            demo_fpmqueue here = { 0 };
            int sure = h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct unix_diag_msg))
                       ? match(h, file, &here) : 0;
            if (sure > best) {
                *queue = here;
                best = sure;
            }
            if (best == 2) {
                return 0;
            }
        }
    }
}

int demo_fpmqueue_read(const char *path, demo_fpmqueue *queue)
{
    struct stat file;

    if (stat(path, &file) != 0) {
        return errno;
    }
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) {
        return errno;
    }
    int rc = ask(fd);
    if (rc == 0) {
        rc = answer(fd, &file, queue);
    }
    (void)close(fd);
    return rc;
}
