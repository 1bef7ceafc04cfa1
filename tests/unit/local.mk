UNIT_TESTS = \
	tests/unit/test_fcgiw \
	tests/unit/test_fcgiw_pairs \
	tests/unit/test_fcgiw_stream \
	tests/unit/test_cgih \
	tests/unit/test_prom \
	tests/unit/test_sc_relay \
	tests/unit/test_sc_relay_clients \
	tests/unit/test_sc_relay_control \
	tests/unit/test_sc_relay_faults \
	tests/unit/test_sc_relay_forward \
	tests/unit/test_sc_relay_noise \
	tests/unit/test_sc_relay_return \
	tests/unit/test_sc_relay_unread \
	tests/unit/test_sc_request \
	tests/unit/test_sc_options \
	tests/unit/test_sc_state \
	tests/unit/test_sc_frame \
	tests/unit/test_sc_wal \
	tests/unit/test_sc_db \
	tests/unit/test_sc_have \
	tests/unit/test_sc_direct \
	tests/unit/test_backend \
	tests/unit/test_balance \
	tests/unit/test_shm_threads \
	tests/unit/test_place \
	tests/unit/test_pool \
	tests/unit/test_endpoint
if HAVE_CMOCKA
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)
endif
tests_unit_test_fcgiw_SOURCES = %D%/test_fcgiw.c %D%/testlib.h
tests_unit_test_fcgiw_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(FCGI_CFLAGS)
tests_unit_test_fcgiw_LDADD = lib/libdemo.la $(CMOCKA_LIBS)
tests_unit_test_fcgiw_pairs_SOURCES = %D%/test_fcgiw_pairs.c %D%/testlib.h
tests_unit_test_fcgiw_pairs_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_fcgiw_pairs_LDADD = lib/libdemo.la $(CMOCKA_LIBS)
tests_unit_test_fcgiw_stream_SOURCES = %D%/test_fcgiw_stream.c %D%/testlib.h %D%/wire.h
tests_unit_test_fcgiw_stream_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_fcgiw_stream_LDADD = lib/libdemo.la $(CMOCKA_LIBS)
tests_unit_test_cgih_SOURCES = %D%/test_cgih.c %D%/testlib.h
tests_unit_test_cgih_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_cgih_LDADD = lib/libdemo.la $(CMOCKA_LIBS)
tests_unit_test_prom_SOURCES = %D%/test_prom.c %D%/testlib.h
tests_unit_test_prom_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_prom_LDADD = lib/libdemo.la $(CMOCKA_LIBS)

# The relay between scripted peers.
RELAY_BED = %D%/relay_bed.c %D%/relay_bed.h %D%/testlib.h
tests_unit_test_sc_relay_SOURCES = %D%/test_sc_relay.c $(RELAY_BED)
tests_unit_test_sc_relay_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(APR_CFLAGS)
tests_unit_test_sc_relay_LDADD = fcgi-sidecar/libscrelay.la $(CMOCKA_LIBS)
tests_unit_test_sc_relay_clients_SOURCES = %D%/test_sc_relay_clients.c $(RELAY_BED)
tests_unit_test_sc_relay_clients_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(APR_CFLAGS)
tests_unit_test_sc_relay_clients_LDADD = fcgi-sidecar/libscrelay.la $(CMOCKA_LIBS)
tests_unit_test_sc_relay_control_SOURCES = %D%/test_sc_relay_control.c $(RELAY_BED)
tests_unit_test_sc_relay_control_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(APR_CFLAGS)
tests_unit_test_sc_relay_control_LDADD = fcgi-sidecar/libscrelay.la $(CMOCKA_LIBS)
tests_unit_test_sc_relay_noise_SOURCES = %D%/test_sc_relay_noise.c $(RELAY_BED)
tests_unit_test_sc_relay_noise_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(APR_CFLAGS)
tests_unit_test_sc_relay_noise_LDADD = fcgi-sidecar/libscrelay.la $(CMOCKA_LIBS)
tests_unit_test_sc_request_SOURCES = %D%/test_sc_request.c %D%/testlib.h
tests_unit_test_sc_request_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(APR_CFLAGS)
tests_unit_test_sc_request_LDADD = fcgi-sidecar/libscrelay.la $(CMOCKA_LIBS)
tests_unit_test_sc_relay_forward_SOURCES = %D%/test_sc_relay_forward.c $(RELAY_BED)
tests_unit_test_sc_relay_forward_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(APR_CFLAGS)
tests_unit_test_sc_relay_forward_LDADD = fcgi-sidecar/libscrelay.la $(CMOCKA_LIBS)
tests_unit_test_sc_relay_return_SOURCES = %D%/test_sc_relay_return.c $(RELAY_BED)
tests_unit_test_sc_relay_return_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(APR_CFLAGS)
tests_unit_test_sc_relay_return_LDADD = fcgi-sidecar/libscrelay.la $(CMOCKA_LIBS)
tests_unit_test_sc_relay_unread_SOURCES = %D%/test_sc_relay_unread.c $(RELAY_BED)
tests_unit_test_sc_relay_unread_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(APR_CFLAGS)
tests_unit_test_sc_relay_unread_LDADD = fcgi-sidecar/libscrelay.la $(CMOCKA_LIBS)
tests_unit_test_sc_relay_faults_SOURCES = %D%/test_sc_relay_faults.c $(RELAY_BED)
tests_unit_test_sc_relay_faults_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(APR_CFLAGS)
tests_unit_test_sc_relay_faults_LDADD = fcgi-sidecar/libscrelay.la $(CMOCKA_LIBS)

# The rest of the sidecar.
tests_unit_test_sc_options_SOURCES = %D%/test_sc_options.c %D%/testlib.h
tests_unit_test_sc_options_CPPFLAGS = $(SIDECAR_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_sc_options_LDADD = fcgi-sidecar/libsidecar.la $(SIDECAR_LIBS) $(CMOCKA_LIBS)
tests_unit_test_sc_state_SOURCES = %D%/test_sc_state.c %D%/testlib.h
tests_unit_test_sc_state_CPPFLAGS = $(SIDECAR_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_sc_state_LDADD = fcgi-sidecar/libsidecar.la $(SIDECAR_LIBS) $(CMOCKA_LIBS)
tests_unit_test_sc_frame_SOURCES = %D%/test_sc_frame.c %D%/testlib.h
tests_unit_test_sc_frame_CPPFLAGS = $(SIDECAR_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_sc_frame_LDADD = fcgi-sidecar/libsidecar.la $(SIDECAR_LIBS) $(CMOCKA_LIBS)
tests_unit_test_sc_wal_SOURCES = %D%/test_sc_wal.c %D%/testlib.h
tests_unit_test_sc_wal_CPPFLAGS = $(SIDECAR_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_sc_wal_LDADD = fcgi-sidecar/libsidecar.la $(SIDECAR_LIBS) $(CMOCKA_LIBS)
tests_unit_test_sc_db_SOURCES = %D%/test_sc_db.c %D%/testlib.h
tests_unit_test_sc_db_CPPFLAGS = $(SIDECAR_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_sc_db_LDADD = fcgi-sidecar/libsidecar.la $(SIDECAR_LIBS) $(CMOCKA_LIBS)
tests_unit_test_sc_direct_SOURCES = %D%/test_sc_direct.c %D%/testlib.h
tests_unit_test_sc_direct_CPPFLAGS = $(SIDECAR_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_sc_direct_LDADD = fcgi-sidecar/libsidecar.la $(SIDECAR_LIBS) $(CMOCKA_LIBS)
tests_unit_test_sc_have_SOURCES = %D%/test_sc_have.c %D%/testlib.h
tests_unit_test_sc_have_CPPFLAGS = $(SIDECAR_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_sc_have_LDADD = fcgi-sidecar/libsidecar.la $(SIDECAR_LIBS) $(CMOCKA_LIBS)

# The module's shared memory, with as much of httpd as it calls.
SHM_BED = %D%/addresses.h %D%/stub_httpd.c %D%/stub_httpd.h %D%/testlib.h $(DEMO_SHM) $(DEMO_BACKEND) \
	mod_demo/observe/demo_counters.c
SHM_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(HTTPD_CPPFLAGS) $(APR_CFLAGS) $(APU_CFLAGS)
tests_unit_test_backend_SOURCES = %D%/test_backend.c $(SHM_BED)
tests_unit_test_backend_CPPFLAGS = $(SHM_CPPFLAGS)
tests_unit_test_backend_LDADD = lib/libdemo.la $(CMOCKA_LIBS) $(APR_LIBS)
tests_unit_test_balance_SOURCES = %D%/test_balance.c $(SHM_BED)
tests_unit_test_balance_CPPFLAGS = $(SHM_CPPFLAGS)
tests_unit_test_balance_LDADD = lib/libdemo.la $(CMOCKA_LIBS) $(APR_LIBS)
tests_unit_test_shm_threads_SOURCES = %D%/test_shm_threads.c $(SHM_BED)
tests_unit_test_shm_threads_CPPFLAGS = $(SHM_CPPFLAGS)
tests_unit_test_shm_threads_LDADD = lib/libdemo.la $(CMOCKA_LIBS) $(APR_LIBS)
tests_unit_test_place_SOURCES = %D%/test_place.c $(SHM_BED) $(DEMO_POOL)
tests_unit_test_place_CPPFLAGS = $(SHM_CPPFLAGS)
tests_unit_test_place_LDADD = lib/libdemo.la $(CMOCKA_LIBS) $(APR_LIBS)
tests_unit_test_pool_SOURCES = %D%/test_pool.c $(SHM_BED) $(DEMO_POOL)
tests_unit_test_pool_CPPFLAGS = $(SHM_CPPFLAGS)
tests_unit_test_pool_LDADD = lib/libdemo.la $(CMOCKA_LIBS) $(APR_LIBS)
tests_unit_test_endpoint_SOURCES = %D%/test_endpoint.c $(SHM_BED) mod_demo/background/demo_fetch.c \
	mod_demo/observe/demo_fpmqueue.c mod_demo/observe/demo_status.c
tests_unit_test_endpoint_CPPFLAGS = $(SHM_CPPFLAGS)
tests_unit_test_endpoint_LDADD = lib/libdemo.la $(CMOCKA_LIBS) $(APR_LIBS)
