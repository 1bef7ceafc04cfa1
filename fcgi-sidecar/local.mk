# The rooms, from the ground up; docs/architecture.md says what each is for, and
# tests/guard/layers.py which may include which.
SC_BASE = \
	%D%/base/sc_bind.c %D%/base/sc_bind.h \
	%D%/base/sc_bytes.c %D%/base/sc_bytes.h \
	%D%/base/sc_crypto.c %D%/base/sc_crypto.h \
	%D%/base/sc_dial.c %D%/base/sc_dial.h \
	%D%/base/sc_direct.c %D%/base/sc_direct.h \
	%D%/base/sc_error.c %D%/base/sc_error.h \
	%D%/base/sc_fault.c %D%/base/sc_fault.h \
	%D%/base/sc_file.c %D%/base/sc_file.h \
	%D%/base/sc_log.c %D%/base/sc_log.h \
	%D%/base/sc_memory.c %D%/base/sc_memory.h \
	%D%/base/sc_nice.c %D%/base/sc_nice.h \
	%D%/base/sc_options.c %D%/base/sc_options.def %D%/base/sc_options.h \
	%D%/base/sc_record.c %D%/base/sc_record.h
SC_RELAY = \
	%D%/relay/sc_address.c %D%/relay/sc_address.h \
	%D%/relay/sc_buffer.c %D%/relay/sc_buffer.h \
	%D%/relay/sc_client.c %D%/relay/sc_client.h \
	%D%/relay/sc_client_input.c \
	%D%/relay/sc_dispatch.c \
	%D%/relay/sc_exchange.c \
	%D%/relay/sc_list.h \
	%D%/relay/sc_listen.c \
	%D%/relay/sc_loop.c %D%/relay/sc_loop.h \
	%D%/relay/sc_relay.c %D%/relay/sc_relay.h %D%/relay/sc_relay_core.h \
	%D%/relay/sc_relay_calls.c \
	%D%/relay/sc_relay_config.c \
	%D%/relay/sc_relay_stats.c \
	%D%/relay/sc_request.c %D%/relay/sc_request.h \
	%D%/relay/sc_target.c \
	%D%/relay/sc_upstream.c %D%/relay/sc_upstream.h
SC_AUTHORITY = \
	%D%/authority/sc_authority.c %D%/authority/sc_authority.h \
	%D%/authority/sc_authority_file.c \
	%D%/authority/sc_authority_lease.c
SC_DATABASE = \
	%D%/database/sc_check.c %D%/database/sc_check.h \
	%D%/database/sc_db.c %D%/database/sc_db.h \
	%D%/database/sc_db_fence.c %D%/database/sc_db_fence.h \
	%D%/database/sc_db_file.c %D%/database/sc_db_file.h \
	%D%/database/sc_have.c %D%/database/sc_have.h \
	%D%/database/sc_owner.c %D%/database/sc_owner.h \
	%D%/database/sc_pages.c %D%/database/sc_pages.h \
	%D%/database/sc_resume.c %D%/database/sc_resume.h \
	%D%/database/sc_sqlite.c %D%/database/sc_sqlite.h \
	%D%/database/sc_wal.c %D%/database/sc_wal.h
SC_CONTROL = \
	%D%/control/sc_ahead.c %D%/control/sc_ahead.h \
	%D%/control/sc_control.c %D%/control/sc_control.h \
	%D%/control/sc_frame.c %D%/control/sc_frame.h \
	%D%/control/sc_inbound.c %D%/control/sc_inbound.h \
	%D%/control/sc_message.c %D%/control/sc_message.h \
	%D%/control/sc_nonce.c %D%/control/sc_nonce.h \
	%D%/control/sc_peer.c %D%/control/sc_peer.h
SC_NODE = \
	%D%/node/sc_metrics.c %D%/node/sc_metrics.h \
	%D%/node/sc_node.c %D%/node/sc_node.h \
	%D%/node/sc_state.c %D%/node/sc_state.h %D%/node/sc_states.def \
	%D%/node/sc_work.c %D%/node/sc_work.h
SC_HANDOFF = \
	%D%/handoff/sc_cutover.c %D%/handoff/sc_cutover.h \
	%D%/handoff/sc_durable.c %D%/handoff/sc_durable.h \
	%D%/handoff/sc_first.c %D%/handoff/sc_first.h \
	%D%/handoff/sc_follower.c %D%/handoff/sc_follower.h \
	%D%/handoff/sc_grant.c %D%/handoff/sc_grant.h \
	%D%/handoff/sc_handoff.c %D%/handoff/sc_handoff.h \
	%D%/handoff/sc_incoming.c %D%/handoff/sc_incoming.h \
	%D%/handoff/sc_install.c %D%/handoff/sc_install.h \
	%D%/handoff/sc_confirm.c %D%/handoff/sc_confirm.h \
	%D%/handoff/sc_keep.c %D%/handoff/sc_keep.h \
	%D%/handoff/sc_operator.c %D%/handoff/sc_operator.h \
	%D%/handoff/sc_outgoing.c %D%/handoff/sc_outgoing.h \
	%D%/handoff/sc_promote.c %D%/handoff/sc_promote.h \
	%D%/handoff/sc_ship.c %D%/handoff/sc_ship.h \
	%D%/handoff/sc_start.c %D%/handoff/sc_start.h \
	%D%/handoff/sc_sync.c %D%/handoff/sc_sync.h \
	%D%/handoff/sc_takeover.c %D%/handoff/sc_takeover.h \
	%D%/handoff/sc_tidy.c %D%/handoff/sc_tidy.h
SC_OBSERVE = \
	%D%/observe/sc_http.c %D%/observe/sc_http.h \
	%D%/observe/sc_metrics.def %D%/observe/sc_metrics_page.c %D%/observe/sc_metrics_page.h \
	%D%/observe/sc_status.c %D%/observe/sc_status.h
SC_COMMANDS = \
	%D%/commands/sc_hook.c %D%/commands/sc_hook.h \
	%D%/commands/sc_progress.c %D%/commands/sc_progress.h \
	%D%/commands/sc_serve.c %D%/commands/sc_serve.h \
	%D%/commands/sc_tools.c %D%/commands/sc_tools.h

# The relay, of its own so that its tests and tools link nothing else.
noinst_LTLIBRARIES += fcgi-sidecar/libscrelay.la
fcgi_sidecar_libscrelay_la_SOURCES = $(SC_RELAY)
fcgi_sidecar_libscrelay_la_CPPFLAGS = $(AM_CPPFLAGS) $(APR_CFLAGS)
fcgi_sidecar_libscrelay_la_CFLAGS = $(AM_CFLAGS) -pthread
fcgi_sidecar_libscrelay_la_LIBADD = lib/libdemo.la
fcgi_sidecar_libscrelay_la_LDFLAGS = $(AM_LDFLAGS) -pthread

# The rest of it, so that unit tests can link it.
SIDECAR_CPPFLAGS = $(AM_CPPFLAGS) $(APR_CFLAGS) $(SQLITE_CFLAGS) $(MHD_CFLAGS) \
	$(CRYPTO_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS)
SIDECAR_LIBS = fcgi-sidecar/libscrelay.la lib/libdemo.la $(APR_LIBS) $(SQLITE_LIBS) $(MHD_LIBS) \
	$(CRYPTO_LIBS) $(JANSSON_LIBS) $(CURL_LIBS)
noinst_LTLIBRARIES += fcgi-sidecar/libsidecar.la
fcgi_sidecar_libsidecar_la_SOURCES = $(SC_BASE) $(SC_AUTHORITY) $(SC_DATABASE) $(SC_CONTROL) \
	$(SC_NODE) $(SC_HANDOFF) $(SC_OBSERVE) $(SC_COMMANDS)
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
