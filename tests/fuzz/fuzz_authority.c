/*
 * The record that says who is primary, as it lies in a file or a Lease: one that
 * is taken is whole, and written again reads the same.
 *
 * Input: the text.
 */
#include "tests/fuzz/fuzz.h"

#include "fcgi-sidecar/authority/sc_authority.h"

FUZZ_NOT_COVERED

static void check_record(const sc_authority_record *r)
{
    FUZZ_CHECK(strnlen(r->lineage, sizeof r->lineage) == SC_LINEAGE_LEN);
    FUZZ_CHECK(r->epoch >= 1);
    FUZZ_CHECK(memchr(r->primary.uid, '\0', sizeof r->primary.uid) != NULL
               && sc_uid_valid(r->primary.uid));
    FUZZ_CHECK(memchr(r->primary.control, '\0', sizeof r->primary.control) != NULL);
    FUZZ_CHECK(memchr(r->primary.relay, '\0', sizeof r->primary.relay) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_authority_record r, again;
    char *text = fuzz_copy(data, size);

    memset(&r, 'x', sizeof r);
    memset(&again, 'y', sizeof again);
    if (sc_authority_record_parse(&r, text, size)) {
        char *written = sc_authority_record_text(&r);
        check_record(&r);
        FUZZ_CHECK(written != NULL);
        FUZZ_CHECK(sc_authority_record_parse(&again, written, strlen(written)));
        FUZZ_CHECK(strcmp(r.lineage, again.lineage) == 0 && r.epoch == again.epoch);
        FUZZ_CHECK(strcmp(r.primary.uid, again.primary.uid) == 0);
        FUZZ_CHECK(strcmp(r.primary.control, again.primary.control) == 0);
        FUZZ_CHECK(strcmp(r.primary.relay, again.primary.relay) == 0);
        free(written);
    }
    free(text);
    return 0;
}

FUZZ_COVERED
