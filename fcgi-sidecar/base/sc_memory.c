#include "fcgi-sidecar/base/sc_memory.h"

#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#define FIRST_MS    300
#define INTERVAL_MS 2000

/* Executable segments are never written, so their pages can be dropped and come
 * back from the page cache.  Read-only data is left alone: relocations were
 * written into it. */
static int drop_code(struct dl_phdr_info *info, size_t size, void *context)
{
    const uintptr_t page = *(const uintptr_t *)context;
    const ElfW(Phdr) *p;
    uintptr_t from, to;
    unsigned i;

    for (i = 0; i < info->dlpi_phnum; i++) {
        p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) != 0 && (p->p_flags & PF_W) == 0) {
            from = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
            to = (info->dlpi_addr + p->p_vaddr + p->p_filesz) & ~(page - 1);
            if (to > from) {
                (void)madvise((void *)from, to - from, MADV_DONTNEED); /* or the pages stay */
            }
        }
    }
    return 0;
}

void sc_memory_tidy(int64_t now_ms, int64_t *next)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    if (*next == 0) {
        *next = now_ms + FIRST_MS;
    }
    if (now_ms < *next) {
        return;
    }
    *next = now_ms + INTERVAL_MS;
    dl_iterate_phdr(drop_code, &page);
    malloc_trim(0);
}
