# Programs that the integration tests and measurements drive.
noinst_PROGRAMS += tests/tools/relay_run
tests_tools_relay_run_SOURCES = %D%/relay_run.c
tests_tools_relay_run_CPPFLAGS = $(AM_CPPFLAGS) $(APR_CFLAGS)
tests_tools_relay_run_LDADD = fcgi-sidecar/libscrelay.la $(APR_LIBS)
