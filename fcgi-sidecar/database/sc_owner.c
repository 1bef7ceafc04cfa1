#include "fcgi-sidecar/database/sc_owner.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool number(const char *text, unsigned *out)
{
    char *end;

    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    *out = (unsigned)strtoul(text, &end, 10);
    return *end == '\0';
}

static apr_status_t named(const char *owner, uid_t *uid, gid_t *gid, sc_error *err)
{
    char user[256];
    const char *colon = strchr(owner, ':');
    const struct passwd *pw;
    const struct group *gr;
    unsigned id;

    snprintf(user, sizeof(user), "%.*s", colon != NULL ? (int)(colon - owner) : 255, owner);
    pw = getpwnam(user);
    if (number(user, &id)) {
        *uid = id;
    }
    else if (pw != NULL) {
        *uid = pw->pw_uid;
        *gid = pw->pw_gid;
    }
    else {
        return sc_error_set(err, SC_EUSAGE, "--owner: there is no user \"%s\"", user);
    }
    if (colon != NULL) {
        gr = getgrnam(colon + 1);
        if (number(colon + 1, &id)) {
            *gid = id;
        }
        else if (gr != NULL) {
            *gid = gr->gr_gid;
        }
        else {
            return sc_error_set(err, SC_EUSAGE, "--owner: there is no group \"%s\"", colon + 1);
        }
    }
    return APR_SUCCESS;
}

apr_status_t sc_owner_check(const char *owner, sc_error *err)
{
    uid_t uid;
    gid_t gid;

    return owner == NULL ? APR_SUCCESS : named(owner, &uid, &gid, err);
}

apr_status_t sc_owner_apply(int fd, const char *path, const char *owner, mode_t mode,
                            sc_error *err)
{
    char folder[PATH_MAX];
    struct stat st;
    uid_t uid = (uid_t)-1;
    gid_t gid = (gid_t)-1;
    char *slash;
    apr_status_t rv;

    if (fchmod(fd, mode) != 0) {
        return sc_error_errno(err, errno, "can not set the mode of %s", path);
    }
    snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (slash != NULL && slash != folder) {
        *slash = '\0';
    }
    if (owner != NULL) {
        rv = named(owner, &uid, &gid, err);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    else if (geteuid() == 0 && slash != NULL && stat(folder, &st) == 0) {
        uid = st.st_uid;
        gid = st.st_gid;
    }
    if ((uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, uid, gid) != 0) {
        return sc_error_errno(err, errno, "can not give %s to %u:%u", path, (unsigned)uid,
                              (unsigned)gid);
    }
    return APR_SUCCESS;
}
