# The relay, of its own so that its tests and tools link nothing else.
noinst_LTLIBRARIES += fcgi-sidecar/libscrelay.la
fcgi_sidecar_libscrelay_la_SOURCES = \
	%D%/sc_address.c %D%/sc_address.h \
	%D%/sc_buffer.c %D%/sc_buffer.h \
	%D%/sc_client.c %D%/sc_client.h \
	%D%/sc_client_input.c \
	%D%/sc_dispatch.c \
	%D%/sc_list.h \
	%D%/sc_listen.c \
	%D%/sc_loop.c %D%/sc_loop.h \
	%D%/sc_relay.c %D%/sc_relay.h %D%/sc_relay_core.h \
	%D%/sc_relay_stats.c \
	%D%/sc_request.c %D%/sc_request.h \
	%D%/sc_target.c \
	%D%/sc_upstream.c %D%/sc_upstream.h
fcgi_sidecar_libscrelay_la_CPPFLAGS = $(AM_CPPFLAGS) $(APR_CFLAGS)
fcgi_sidecar_libscrelay_la_CFLAGS = $(AM_CFLAGS) -pthread
fcgi_sidecar_libscrelay_la_LIBADD = lib/libdemo.la
fcgi_sidecar_libscrelay_la_LDFLAGS = $(AM_LDFLAGS) -pthread

# The companion beside php-fpm.
bin_PROGRAMS += fcgi-sidecar/fcgi-sidecar
fcgi_sidecar_fcgi_sidecar_SOURCES = \
	%D%/main.c
fcgi_sidecar_fcgi_sidecar_CPPFLAGS = $(AM_CPPFLAGS) $(APR_CFLAGS) $(SQLITE_CFLAGS) $(MHD_CFLAGS) \
	$(FCGI_CFLAGS) $(CRYPTO_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS)
fcgi_sidecar_fcgi_sidecar_LDADD = fcgi-sidecar/libscrelay.la lib/libdemo.la $(APR_LIBS) $(SQLITE_LIBS) $(MHD_LIBS) \
	$(FCGI_LIBS) $(CRYPTO_LIBS) $(JANSSON_LIBS) $(CURL_LIBS)
