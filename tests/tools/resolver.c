/*
 * resolver.c -- getaddrinfo() of a test: preloaded, it answers from the file
 * RESOLVER_FILE, which is read anew for each question:
 *
 *     name address address ...     the addresses of name
 *     name after SECONDS ...       the same, after a wait
 *     name fails                   EAI_AGAIN
 *
 * A name that the file does not have is unknown; numeric hosts are not touched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*resolver)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
    resolver real = (resolver)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *path = getenv("RESOLVER_FILE");
    struct addrinfo **tail = res, numeric = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    char line[4096], *save = NULL;
    FILE *f;

    if (path == NULL || node == NULL || (hints != NULL && (hints->ai_flags & AI_NUMERICHOST))
        || real(node, NULL, &numeric, &found) == 0) {
        if (found != NULL) {
            freeaddrinfo(found);
        }
        return real(node, service, hints, res);
    }
    *res = NULL;
    f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        char *word = strtok_r(line, " \n", &save);
        if (word == NULL || strcmp(word, node) != 0) {
            continue;
        }
        fclose(f);
        while ((word = strtok_r(NULL, " \n", &save)) != NULL) {
            if (strcmp(word, "fails") == 0) {
                return EAI_AGAIN;
            }
            if (strcmp(word, "after") == 0) {
                word = strtok_r(NULL, " \n", &save);
                usleep((useconds_t)(atof(word != NULL ? word : "0") * 1e6));
            }
            else if (real(word, service, &numeric, tail) == 0) {
                tail = &(*tail)->ai_next;
            }
        }
        return *res != NULL ? 0 : EAI_NODATA;
    }
    if (f != NULL) {
        fclose(f);
    }
    return EAI_NONAME;
}
