/*
 * sc_address.h -- "host:port", ":port", "[v6]:port" and "unix:/path" as socket
 * addresses.
 */
#ifndef SC_ADDRESS_H
#define SC_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include <apr_errno.h>

#define SC_ADDRESS_TEXT 300 /* longest text that is kept, with its NUL */

typedef struct {
    struct sockaddr_storage sa;
    socklen_t len;
    bool      is_unix;
    char      text[SC_ADDRESS_TEXT]; /* as given, for messages */
} sc_address;

/* Parses and resolves (this may block on DNS).  `passive`: for bind(), where an
 * empty host means every interface; else an empty host is an error.  On failure
 * error says what is wrong with text. */
apr_status_t sc_address_parse(sc_address *address, const char *text, bool passive,
                              char *error, size_t error_size);

#endif /* SC_ADDRESS_H */
