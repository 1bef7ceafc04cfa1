# The relay, of its own so that its tests and tools link nothing else.
noinst_LTLIBRARIES += fcgi-sidecar/libscrelay.la
fcgi_sidecar_libscrelay_la_SOURCES = \
	%D%/sc_address.c %D%/sc_address.h \
	%D%/sc_buffer.c %D%/sc_buffer.h \
	%D%/sc_client.c %D%/sc_client.h \
	%D%/sc_client_input.c \
	%D%/sc_dispatch.c \
	%D%/sc_exchange.c \
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

# The rest of it, so that unit tests can link it.
SIDECAR_CPPFLAGS = $(AM_CPPFLAGS) $(APR_CFLAGS) $(SQLITE_CFLAGS) $(MHD_CFLAGS) \
	$(FCGI_CFLAGS) $(CRYPTO_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS)
SIDECAR_LIBS = fcgi-sidecar/libscrelay.la lib/libdemo.la $(APR_LIBS) $(SQLITE_LIBS) $(MHD_LIBS) \
	$(FCGI_LIBS) $(CRYPTO_LIBS) $(JANSSON_LIBS) $(CURL_LIBS)
noinst_LTLIBRARIES += fcgi-sidecar/libsidecar.la
fcgi_sidecar_libsidecar_la_SOURCES = \
	%D%/sc_authority.c %D%/sc_authority.h \
	%D%/sc_authority_file.c \
	%D%/sc_authority_lease.c \
	%D%/sc_bind.c %D%/sc_bind.h \
	%D%/sc_control.c %D%/sc_control.h \
	%D%/sc_crypto.c %D%/sc_crypto.h \
	%D%/sc_db.c %D%/sc_db.h \
	%D%/sc_dial.c %D%/sc_dial.h \
	%D%/sc_error.c %D%/sc_error.h \
	%D%/sc_fault.c %D%/sc_fault.h \
	%D%/sc_file.c %D%/sc_file.h \
	%D%/sc_frame.c %D%/sc_frame.h \
	%D%/sc_grant.c %D%/sc_grant.h \
	%D%/sc_handoff.c %D%/sc_handoff.h \
	%D%/sc_have.c %D%/sc_have.h \
	%D%/sc_hook.c %D%/sc_hook.h \
	%D%/sc_http.c %D%/sc_http.h \
	%D%/sc_install.c %D%/sc_install.h \
	%D%/sc_log.c %D%/sc_log.h \
	%D%/sc_memory.c %D%/sc_memory.h \
	%D%/sc_message.c %D%/sc_message.h \
	%D%/sc_metrics.c %D%/sc_metrics.def %D%/sc_metrics.h \
	%D%/sc_nice.c %D%/sc_nice.h \
	%D%/sc_node.c %D%/sc_node.h \
	%D%/sc_nonce.c %D%/sc_nonce.h \
	%D%/sc_options.c %D%/sc_options.def %D%/sc_options.h \
	%D%/sc_owner.c %D%/sc_owner.h \
	%D%/sc_pages.c %D%/sc_pages.h \
	%D%/sc_peer.c %D%/sc_peer.h \
	%D%/sc_progress.c %D%/sc_progress.h \
	%D%/sc_promote.c %D%/sc_promote.h \
	%D%/sc_record.c %D%/sc_record.h \
	%D%/sc_resume.c %D%/sc_resume.h \
	%D%/sc_serve.c %D%/sc_serve.h \
	%D%/sc_ship.c %D%/sc_ship.h \
	%D%/sc_start.c %D%/sc_start.h \
	%D%/sc_state.c %D%/sc_state.h %D%/sc_states.def \
	%D%/sc_status.c %D%/sc_status.h \
	%D%/sc_sync.c %D%/sc_sync.h \
	%D%/sc_tools.c %D%/sc_tools.h \
	%D%/sc_wal.c %D%/sc_wal.h \
	%D%/sc_work.c %D%/sc_work.h
fcgi_sidecar_libsidecar_la_CPPFLAGS = $(SIDECAR_CPPFLAGS)
fcgi_sidecar_libsidecar_la_CFLAGS = $(AM_CFLAGS) -pthread

# The companion beside php-fpm.
bin_PROGRAMS += fcgi-sidecar/fcgi-sidecar
fcgi_sidecar_fcgi_sidecar_SOURCES = %D%/main.c
fcgi_sidecar_fcgi_sidecar_CPPFLAGS = $(SIDECAR_CPPFLAGS)
fcgi_sidecar_fcgi_sidecar_CFLAGS = $(AM_CFLAGS) -pthread
fcgi_sidecar_fcgi_sidecar_LDADD = fcgi-sidecar/libsidecar.la $(SIDECAR_LIBS)

# The same program with the points of sc_fault.h alive; for tests, never installed.
check_PROGRAMS += fcgi-sidecar/fcgi-sidecar-faults
fcgi_sidecar_fcgi_sidecar_faults_SOURCES = %D%/main.c $(fcgi_sidecar_libsidecar_la_SOURCES)
fcgi_sidecar_fcgi_sidecar_faults_CPPFLAGS = $(SIDECAR_CPPFLAGS) -DSC_FAULTS
fcgi_sidecar_fcgi_sidecar_faults_CFLAGS = $(AM_CFLAGS) -pthread
fcgi_sidecar_fcgi_sidecar_faults_LDADD = $(SIDECAR_LIBS)
