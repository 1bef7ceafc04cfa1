/*
 * Runs a harness without a fuzzer: over the files and folders that are its
 * arguments; without arguments over its seeds where make check starts it (srcdir
 * is set), otherwise over standard input (AFL, or a finding piped in).
 *
 * A file is run whole and then cut after each of its first 4096 bytes: what a
 * peer sends may end anywhere.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

enum { PREFIX_MAX = 4096, FILE_MAX = 16 * 1024 * 1024 };

static void run_cut(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);

    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int run_stream(FILE *in, const char *name)
{
    uint8_t *data = malloc(FILE_MAX);
    size_t size;
    int rc = 1;

    FUZZ_CHECK(data != NULL);
    size = fread(data, 1, FILE_MAX, in);
    if (ferror(in) != 0) {
        (void)fprintf(stderr, "%s: cannot be read: %s\n", name, strerror(errno));
        goto leave;
    }
    (void)fprintf(stderr, "%s: %zu bytes\n", name, size);
    run_cut(data, size);
    for (size_t len = 0; len < size && len < PREFIX_MAX; len++) {
        run_cut(data, len);
    }
    rc = 0;
leave:
    free(data);
    return rc;
}

static int run_path(const char *path, size_t *files);

static int run_folder(const char *path, size_t *files)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    int rc = 0;

    if (dir == NULL) {
        (void)fprintf(stderr, "%s: cannot be opened: %s\n", path, strerror(errno));
        return 1;
    }
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        char name[4096];
        int n = snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.') {
            continue;
        }
        rc = n < 0 || (size_t)n >= sizeof(name) ? 1 : run_path(name, files);
    }
    (void)closedir(dir);
    return rc;
}

static int run_path(const char *path, size_t *files)
{
    struct stat st;
    FILE *in;
    int rc;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return run_folder(path, files);
    }
    in = fopen(path, "rb");
    if (in == NULL) {
        (void)fprintf(stderr, "%s: cannot be opened: %s\n", path, strerror(errno));
        return 1;
    }
    rc = run_stream(in, path);
    (void)fclose(in);
    *files += 1;
    return rc;
}

int main(int argc, char **argv)
{
    const char *srcdir = getenv("srcdir");
    char seeds[4096];
    size_t files = 0;
    int rc = 0;

    if (argc < 2 && srcdir == NULL) {
        return run_stream(stdin, "standard input");
    }
    if (argc < 2) {
        (void)snprintf(seeds, sizeof(seeds), "%s/tests/fuzz/seeds/%s", srcdir, FUZZ_NAME);
        rc = run_path(seeds, &files);
    }
    for (int i = 1; i < argc && rc == 0; i++) {
        rc = run_path(argv[i], &files);
    }
    if (rc == 0 && files == 0) {
        (void)fprintf(stderr, "no seed was found\n");
        rc = 1;
    }
    return rc;
}
