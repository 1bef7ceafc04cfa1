# Fuzz harnesses.  Each is linked with replay.c, which runs its seeds in make check, and
# with libFuzzer as well when configured with --enable-fuzzing (CC=clang).
FUZZ_REPLAYS = \
	tests/fuzz/replay_stream \
	tests/fuzz/replay_pairs \
	tests/fuzz/replay_cgih \
	tests/fuzz/replay_prom \
	tests/fuzz/replay_answer \
	tests/fuzz/replay_fetch \
	tests/fuzz/replay_params \
	tests/fuzz/replay_settings \
	tests/fuzz/replay_frame \
	tests/fuzz/replay_inbound \
	tests/fuzz/replay_authority
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
	tests/fuzz/fuzz_prom \
	tests/fuzz/fuzz_answer \
	tests/fuzz/fuzz_fetch \
	tests/fuzz/fuzz_params \
	tests/fuzz/fuzz_settings \
	tests/fuzz/fuzz_frame \
	tests/fuzz/fuzz_inbound \
	tests/fuzz/fuzz_authority
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

# The module's request path, with as much of httpd as it calls.
STUB_HTTP = %D%/fuzz.h %D%/stub_http.c %D%/stub_http.h $(DEMO_EXCHANGE) $(DEMO_RESPONSE) \
	mod_demo/shm/demo_yield.c mod_demo/shm/demo_yield.h
STUB_HTTP_CPPFLAGS = $(AM_CPPFLAGS) $(HTTPD_CPPFLAGS) $(APR_CFLAGS) $(APU_CFLAGS)
STUB_HTTP_LIBS = lib/libdemo.la -laprutil-1 $(APR_LIBS)
STUB_HTTP_WRAP = -Wl,--wrap=recv,--wrap=poll,--wrap=ioctl,--wrap=setsockopt,--wrap=sched_yield \
	-Wl,--wrap=apr_palloc,--wrap=apr_file_mktemp,--wrap=apr_file_remove,--wrap=apr_file_write_full
tests_fuzz_replay_answer_SOURCES = %D%/replay.c %D%/fuzz_answer.c $(STUB_HTTP)
tests_fuzz_replay_answer_CPPFLAGS = $(STUB_HTTP_CPPFLAGS) -DFUZZ_NAME='"answer"'
tests_fuzz_replay_answer_LDFLAGS = $(AM_LDFLAGS) $(STUB_HTTP_WRAP)
tests_fuzz_replay_answer_LDADD = $(STUB_HTTP_LIBS)
tests_fuzz_fuzz_answer_SOURCES = %D%/fuzz_answer.c $(STUB_HTTP)
tests_fuzz_fuzz_answer_CPPFLAGS = $(STUB_HTTP_CPPFLAGS)
tests_fuzz_fuzz_answer_LDFLAGS = $(AM_LDFLAGS) $(STUB_HTTP_WRAP) $(LIBFUZZER)
tests_fuzz_fuzz_answer_LDADD = $(STUB_HTTP_LIBS)

FUZZ_PARAMS = %D%/fuzz.h %D%/fuzz_params.c $(STUB_HTTP) mod_demo/request/demo_params.c
tests_fuzz_replay_params_SOURCES = %D%/replay.c $(FUZZ_PARAMS)
tests_fuzz_replay_params_CPPFLAGS = $(STUB_HTTP_CPPFLAGS) -DFUZZ_NAME='"params"'
tests_fuzz_replay_params_LDFLAGS = $(AM_LDFLAGS) $(STUB_HTTP_WRAP)
tests_fuzz_replay_params_LDADD = $(STUB_HTTP_LIBS)
tests_fuzz_fuzz_params_SOURCES = $(FUZZ_PARAMS)
tests_fuzz_fuzz_params_CPPFLAGS = $(STUB_HTTP_CPPFLAGS)
tests_fuzz_fuzz_params_LDFLAGS = $(AM_LDFLAGS) $(STUB_HTTP_WRAP) $(LIBFUZZER)
tests_fuzz_fuzz_params_LDADD = $(STUB_HTTP_LIBS)

# Health checks and the status page, in the bed of the unit tests.
FUZZ_FETCH = %D%/fuzz.h %D%/fuzz_fetch.c $(SHM_BED) mod_demo/background/demo_fetch.c mod_demo/observe/demo_fpmqueue.c \
	mod_demo/observe/demo_status.c
FUZZ_FETCH_WRAP = -Wl,--wrap=socket,--wrap=connect,--wrap=send,--wrap=recv,--wrap=close
tests_fuzz_replay_fetch_SOURCES = %D%/replay.c $(FUZZ_FETCH)
tests_fuzz_replay_fetch_CPPFLAGS = $(SHM_CPPFLAGS) -DFUZZ_NAME='"fetch"'
tests_fuzz_replay_fetch_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FETCH_WRAP)
tests_fuzz_replay_fetch_LDADD = lib/libdemo.la $(APR_LIBS)
tests_fuzz_fuzz_fetch_SOURCES = $(FUZZ_FETCH)
tests_fuzz_fuzz_fetch_CPPFLAGS = $(SHM_CPPFLAGS)
tests_fuzz_fuzz_fetch_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FETCH_WRAP) $(LIBFUZZER)
tests_fuzz_fuzz_fetch_LDADD = lib/libdemo.la $(APR_LIBS)

FUZZ_SETTINGS = %D%/fuzz.h %D%/fuzz_settings.c mod_demo/backend/demo_endpoint.c mod_demo/config/demo_options.c
tests_fuzz_replay_settings_SOURCES = %D%/replay.c $(FUZZ_SETTINGS)
tests_fuzz_replay_settings_CPPFLAGS = $(STUB_HTTP_CPPFLAGS) -DFUZZ_NAME='"settings"'
tests_fuzz_replay_settings_LDADD = $(APR_LIBS)
tests_fuzz_fuzz_settings_SOURCES = $(FUZZ_SETTINGS)
tests_fuzz_fuzz_settings_CPPFLAGS = $(STUB_HTTP_CPPFLAGS)
tests_fuzz_fuzz_settings_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)
tests_fuzz_fuzz_settings_LDADD = $(APR_LIBS)

# What sidecars read from each other.
FUZZ_SIDECAR_LIBS = fcgi-sidecar/libsidecar.la $(SIDECAR_LIBS)
tests_fuzz_replay_frame_SOURCES = %D%/replay.c %D%/fuzz.h %D%/fuzz_frame.c
tests_fuzz_replay_frame_CPPFLAGS = $(SIDECAR_CPPFLAGS) -DFUZZ_NAME='"frame"'
tests_fuzz_replay_frame_LDADD = $(FUZZ_SIDECAR_LIBS)
tests_fuzz_fuzz_frame_SOURCES = %D%/fuzz.h %D%/fuzz_frame.c
tests_fuzz_fuzz_frame_CPPFLAGS = $(SIDECAR_CPPFLAGS)
tests_fuzz_fuzz_frame_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)
tests_fuzz_fuzz_frame_LDADD = $(FUZZ_SIDECAR_LIBS)
tests_fuzz_replay_inbound_SOURCES = %D%/replay.c %D%/fuzz.h %D%/fuzz_inbound.c
tests_fuzz_replay_inbound_CPPFLAGS = $(SIDECAR_CPPFLAGS) -DFUZZ_NAME='"inbound"'
tests_fuzz_replay_inbound_LDADD = $(FUZZ_SIDECAR_LIBS)
tests_fuzz_fuzz_inbound_SOURCES = %D%/fuzz.h %D%/fuzz_inbound.c
tests_fuzz_fuzz_inbound_CPPFLAGS = $(SIDECAR_CPPFLAGS)
tests_fuzz_fuzz_inbound_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)
tests_fuzz_fuzz_inbound_LDADD = $(FUZZ_SIDECAR_LIBS)
tests_fuzz_replay_authority_SOURCES = %D%/replay.c %D%/fuzz.h %D%/fuzz_authority.c
tests_fuzz_replay_authority_CPPFLAGS = $(SIDECAR_CPPFLAGS) -DFUZZ_NAME='"authority"'
tests_fuzz_replay_authority_LDADD = $(FUZZ_SIDECAR_LIBS)
tests_fuzz_fuzz_authority_SOURCES = %D%/fuzz.h %D%/fuzz_authority.c
tests_fuzz_fuzz_authority_CPPFLAGS = $(SIDECAR_CPPFLAGS)
tests_fuzz_fuzz_authority_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)
tests_fuzz_fuzz_authority_LDADD = $(FUZZ_SIDECAR_LIBS)

EXTRA_DIST += %D%/make-seeds.py %D%/seeds
