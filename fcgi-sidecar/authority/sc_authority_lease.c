/*
 * lease://NAMESPACE/NAME: the record is an annotation of a Kubernetes Lease
 * object; its resourceVersion makes compare-and-swap (coordination.k8s.io/v1).
 * An object without the annotation is an authority without a record.
 *
 * The process runs in a pod: the API server is told by the variables
 * KUBERNETES_SERVICE_HOST and _PORT, token and CA lie in the folder of the
 * service account and are read anew for each call, for they are rotated.
 */
#include "fcgi-sidecar/authority/sc_authority.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#include "fcgi-sidecar/base/sc_crypto.h"
#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"

#define ANNOTATION      "fcgi-sidecar/record"
#define CONNECT_MS      3000L
#define TOTAL_MS        8000L
#define ANSWER_MAX      (1024u * 1024u)
#define URL_MAX_LEN     2048

struct answer {
    char *data;
    size_t len;
    long status;
};

/* --- HTTP ----------------------------------------------------------------------------- */

static size_t take_bytes(char *data, size_t size, size_t count, void *context)
{
    struct answer *a = context;
    size_t len = size * count;
    char *bigger;

    if (len > ANSWER_MAX - a->len) {
        return 0;
    }
    bigger = realloc(a->data, a->len + len + 1);
    if (bigger == NULL) {
        return 0;
    }
    a->data = bigger;
    memcpy(a->data + a->len, data, len);
    a->len += len;
    a->data[a->len] = '\0';
    return len;
}

static void curl_once(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* scheme://host:port of the API server. */
static apr_status_t api_server(const sc_authority *a, char *out, size_t size, sc_error *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    bool v6;

    if (a->kubernetes_api != NULL) {
        snprintf(out, size, "%s", a->kubernetes_api);
        return APR_SUCCESS;
    }
    if (host == NULL || host[0] == '\0') {
        return sc_error_set(err, SC_EFAILED, "lease://%s: KUBERNETES_SERVICE_HOST is not set; this "
                            "authority works inside a pod, or with --kubernetes-api", a->place);
    }
    v6 = strchr(host, ':') != NULL;
    snprintf(out, size, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "",
             port != NULL ? port : "443");
    return APR_SUCCESS;
}

/* "Authorization: Bearer …"; NULL without a token (a proxy may add it). */
static struct curl_slist *headers(const sc_authority *a)
{
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
    char path[PATH_MAX];
    char *token = NULL, *line;
    size_t len = 0;

    snprintf(path, sizeof(path), "%s/token", a->kubernetes_account);
    if (sc_file_read(path, &token, &len, NULL) == APR_SUCCESS) {
        line = malloc(len + 32);
        if (line != NULL) {
            token[strcspn(token, "\r\n")] = '\0';
            sprintf(line, "Authorization: Bearer %s", token);
            list = curl_slist_append(list, line);
            free(line);
        }
        free(token);
    }
    return list;
}

static void set_options(CURL *curl, const sc_authority *a, const char *method, const char *body)
{
    char ca[PATH_MAX];

    snprintf(ca, sizeof(ca), "%s/ca.crt", a->kubernetes_account);
    curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https,http");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTPS | CURLPROTO_HTTP));
#endif
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TOTAL_MS);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "fcgi-sidecar");
    if (body != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
}

/* path is what follows the server; out->data is the caller's to free. */
static apr_status_t call_api(const sc_authority *a, const char *method, const char *path,
                             const char *body, struct answer *out, sc_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    static CURL *curl; /* kept, and its connection with it: a cut-over has no time for handshakes */
    char url[URL_MAX_LEN], why[CURL_ERROR_SIZE] = "";
    struct curl_slist *list = NULL;
    CURLcode rc = CURLE_OUT_OF_MEMORY;
    apr_status_t rv = api_server(a, url, sizeof(url) / 2, err);

    memset(out, 0, sizeof(*out));
    if (rv != APR_SUCCESS) {
        return rv;
    }
    pthread_once(&once, curl_once);
    snprintf(url + strlen(url), sizeof(url) - strlen(url), "%s", path);
    list = headers(a);
    pthread_mutex_lock(&one_at_a_time);
    if (curl == NULL) {
        curl = curl_easy_init();
    }
    if (curl != NULL && list != NULL) {
        curl_easy_reset(curl);
        set_options(curl, a, method, body);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
        rc = SC_FAULT("lease") ? CURLE_OPERATION_TIMEDOUT : curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
    }
    pthread_mutex_unlock(&one_at_a_time);
    curl_slist_free_all(list);
    if (rc != CURLE_OK) {
        free(out->data);
        out->data = NULL;
        return sc_error_set(err, SC_EFAILED, "%s %s: %s", method, url,
                            why[0] != '\0' ? why : curl_easy_strerror(rc));
    }
    return APR_SUCCESS;
}

/* --- the object ------------------------------------------------------------------------- */

static void lease_path(const sc_authority *a, bool object, char *out, size_t size)
{
    const char *slash = strchr(a->place, '/');
    int n = (int)(slash - a->place);

    snprintf(out, size, "/apis/coordination.k8s.io/v1/namespaces/%.*s/leases%s%s", n, a->place,
             object ? "/" : "", object ? slash + 1 : "");
}

static apr_status_t explain(const sc_authority *a, const char *what, const struct answer *out,
                            sc_error *err)
{
    json_t *json = out->data != NULL ? json_loadb(out->data, out->len, 0, NULL) : NULL;
    char message[256] = "";
    apr_status_t rv;

    sc_json_string(json, "message", message, sizeof(message));
    json_decref(json);
    rv = sc_error_set(err, out->status == 401 ? SC_EUNKNOWN : SC_EFAILED,
                      "can not %s the Lease %s: HTTP %ld %s%s", what, a->place, out->status, message,
                      out->status == 401 || out->status == 403
                      ? " (the service account needs get and update on that one name)" : "");
    return rv;
}

/* The object as it is (*object a new reference), or SC_ENONE. */
static apr_status_t get_object(const sc_authority *a, json_t **object, sc_error *err)
{
    char path[URL_MAX_LEN / 2];
    struct answer out;
    apr_status_t rv;

    *object = NULL;
    lease_path(a, true, path, sizeof(path));
    rv = call_api(a, "GET", path, NULL, &out, err);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (out.status == 404) {
        rv = sc_error_set(err, SC_ENONE, "there is no Lease %s", a->place);
    }
    else if (out.status != 200) {
        rv = explain(a, "read", &out, err);
    }
    else {
        *object = json_loadb(out.data, out.len, 0, NULL);
        if (!json_is_object(*object)) {
            json_decref(*object);
            *object = NULL;
            rv = sc_error_set(err, SC_ECORRUPT, "the API server's answer is no object");
        }
    }
    free(out.data);
    return rv;
}

static apr_status_t record_of(const sc_authority *a, const json_t *object, sc_authority_record *r,
                              sc_error *err)
{
    const json_t *text = json_object_get(
        json_object_get(json_object_get(object, "metadata"), "annotations"), ANNOTATION);

    if (text == NULL) {
        return sc_error_set(err, SC_ENONE, "the Lease %s has no record", a->place);
    }
    if (!json_is_string(text)
        || !sc_authority_record_parse(r, json_string_value(text), json_string_length(text))) {
        return sc_error_set(err, SC_ECORRUPT, "the annotation %s of the Lease %s is damaged; restore "
                            "it: it says who is primary", ANNOTATION, a->place);
    }
    return APR_SUCCESS;
}

/* The object as it was read last.  A swap may begin with it: that it is still
 * the present one is what its resourceVersion is for. */
static struct {
    pthread_mutex_t lock;
    json_t *object;
} seen = { PTHREAD_MUTEX_INITIALIZER, NULL };

/* Steals the reference. */
static void remember(json_t *object)
{
    pthread_mutex_lock(&seen.lock);
    json_decref(seen.object);
    seen.object = object;
    pthread_mutex_unlock(&seen.lock);
}

static json_t *recall(void)
{
    json_t *object;

    pthread_mutex_lock(&seen.lock);
    object = seen.object;
    seen.object = NULL;
    pthread_mutex_unlock(&seen.lock);
    return object;
}

static apr_status_t lease_read(const sc_authority *a, sc_authority_record *r, sc_error *err)
{
    json_t *object = NULL;
    apr_status_t rv = get_object(a, &object, err);

    if (rv == APR_SUCCESS) {
        rv = record_of(a, object, r, err);
    }
    remember(object);
    return rv;
}

/* --- compare-and-swap ---------------------------------------------------------------------- */

/* The member of an object that is itself one, made if absent; borrowed. */
static json_t *child(json_t *object, const char *name)
{
    json_t *c = json_object_get(object, name);

    if (!json_is_object(c)) {
        json_object_set_new(object, name, json_object());
        c = json_object_get(object, name);
    }
    return c;
}

static void now_text(char *out, size_t size)
{
    struct timespec ts;
    struct tm tm;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, size - n, ".%06ldZ", ts.tv_nsec / 1000);
}

/* Puts the record in, and what people look at (kubectl get lease). */
static char *with_record(json_t *object, const sc_authority_record *r)
{
    char *text = sc_authority_record_text(r);
    char now[40];
    json_t *spec = child(object, "spec");
    char *body = NULL;

    now_text(now, sizeof(now));
    if (text != NULL) {
        json_object_set_new(child(child(object, "metadata"), "annotations"), ANNOTATION,
                            json_string(text));
        json_object_set_new(spec, "holderIdentity", json_string(r->primary.uid));
        json_object_set_new(spec, "leaseTransitions", json_integer((json_int_t)r->epoch));
        json_object_set_new(spec, "acquireTime", json_string(now));
        json_object_set_new(spec, "renewTime", json_string(now));
        body = json_dumps(object, JSON_COMPACT);
    }
    free(text);
    return body;
}

static json_t *new_object(const sc_authority *a)
{
    const char *slash = strchr(a->place, '/');
    json_t *object = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "coordination.k8s.io/v1",
                               "kind", "Lease", "metadata", "name", slash + 1);

    return object;
}

static apr_status_t write_object(const sc_authority *a, json_t *object, bool is_new,
                                 const sc_authority_record *to, sc_error *err)
{
    char path[URL_MAX_LEN / 2];
    char *body = with_record(object, to);
    struct answer out;
    apr_status_t rv;

    if (body == NULL) {
        return sc_error_errno(err, ENOMEM, "lease://%s", a->place);
    }
    lease_path(a, !is_new, path, sizeof(path));
    rv = call_api(a, is_new ? "POST" : "PUT", path, body, &out, err);
    free(body);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (out.status == 409) {
        rv = sc_error_set(err, SC_ECHANGED, "the Lease %s was changed by somebody else", a->place);
    }
    else if (out.status != 200 && out.status != 201) {
        rv = explain(a, is_new ? "create" : "update", &out, err);
    }
    free(out.data);
    return rv;
}

static apr_status_t swap_now(const sc_authority *a, const sc_authority_record *from,
                             const sc_authority_record *to, sc_error *err)
{
    sc_authority_record now;
    json_t *object = NULL;
    apr_status_t rv = get_object(a, &object, err);
    bool is_new = rv == SC_ENONE;

    if (rv == APR_SUCCESS) {
        rv = record_of(a, object, &now, err);
    }
    rv = sc_authority_expect(rv, &now, from, err);
    if (rv != APR_SUCCESS) {
        goto leave;
    }
    SC_STEP("authority-swap");
    if (is_new) {
        object = new_object(a);
    }
    rv = write_object(a, object, is_new, to, err);
leave:
    json_decref(object);
    return rv;
}

/* With what was read before, if that is what is expected, one call is saved; a
 * failure says nothing but that it has to be read again. */
static apr_status_t lease_swap(const sc_authority *a, const sc_authority_record *from,
                               const sc_authority_record *to, sc_error *err)
{
    json_t *object = recall();
    sc_authority_record then;
    apr_status_t rv = SC_ECHANGED;

    if (from != NULL && object != NULL && record_of(a, object, &then, NULL) == APR_SUCCESS
        && sc_authority_record_equal(&then, from)) {
        SC_STEP("authority-swap");
        rv = write_object(a, object, false, to, NULL);
    }
    json_decref(object);
    return rv == APR_SUCCESS ? rv : swap_now(a, from, to, err);
}

/* The connection is open then, and the object's version known. */
static void lease_ahead(const sc_authority *a, const sc_authority_record *to)
{
    sc_authority_record now;

    (void)to;
    (void)lease_read(a, &now, NULL);
}

const sc_authority_kind sc_authority_lease = { "lease://", lease_read, lease_swap, lease_ahead, NULL };
