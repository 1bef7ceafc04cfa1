# Fuzz harnesses.  Each is linked with replay.c, which runs its seeds in make check, and
# with libFuzzer as well when configured with --enable-fuzzing (CC=clang).
FUZZ_REPLAYS = \
	tests/fuzz/replay_stream \
	tests/fuzz/replay_pairs \
	tests/fuzz/replay_cgih \
	tests/fuzz/replay_prom
check_PROGRAMS += $(FUZZ_REPLAYS)
TESTS += $(FUZZ_REPLAYS)

tests_fuzz_replay_stream_SOURCES = %D%/replay.c %D%/fuzz.h %D%/fuzz_stream.c
tests_fuzz_replay_stream_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_NAME='"stream"'
tests_fuzz_replay_stream_LDADD = lib/libdemo.la
tests_fuzz_replay_pairs_SOURCES = %D%/replay.c %D%/fuzz.h %D%/fuzz_pairs.c
tests_fuzz_replay_pairs_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_NAME='"pairs"'
tests_fuzz_replay_pairs_LDADD = lib/libdemo.la
tests_fuzz_replay_cgih_SOURCES = %D%/replay.c %D%/fuzz.h %D%/fuzz_cgih.c
tests_fuzz_replay_cgih_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_NAME='"cgih"'
tests_fuzz_replay_cgih_LDADD = lib/libdemo.la
tests_fuzz_replay_prom_SOURCES = %D%/replay.c %D%/fuzz.h %D%/fuzz_prom.c
tests_fuzz_replay_prom_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_NAME='"prom"'
tests_fuzz_replay_prom_LDADD = lib/libdemo.la

if FUZZING
noinst_PROGRAMS += \
	tests/fuzz/fuzz_stream \
	tests/fuzz/fuzz_pairs \
	tests/fuzz/fuzz_cgih \
	tests/fuzz/fuzz_prom
endif
LIBFUZZER = -fsanitize=fuzzer
tests_fuzz_fuzz_stream_SOURCES = %D%/fuzz.h %D%/fuzz_stream.c
tests_fuzz_fuzz_stream_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)
tests_fuzz_fuzz_stream_LDADD = lib/libdemo.la
tests_fuzz_fuzz_pairs_SOURCES = %D%/fuzz.h %D%/fuzz_pairs.c
tests_fuzz_fuzz_pairs_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)
tests_fuzz_fuzz_pairs_LDADD = lib/libdemo.la
tests_fuzz_fuzz_cgih_SOURCES = %D%/fuzz.h %D%/fuzz_cgih.c
tests_fuzz_fuzz_cgih_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)
tests_fuzz_fuzz_cgih_LDADD = lib/libdemo.la
tests_fuzz_fuzz_prom_SOURCES = %D%/fuzz.h %D%/fuzz_prom.c
tests_fuzz_fuzz_prom_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)
tests_fuzz_fuzz_prom_LDADD = lib/libdemo.la

EXTRA_DIST += %D%/make-seeds.py %D%/seeds
