# The rooms, from the ground up; docs/architecture.md says what each is for, and
# tests/guard/layers.py which may include which.
DEMO_SHM = \
	%D%/shm/demo_clock.c %D%/shm/demo_clock.h \
	%D%/shm/demo_gauges.c %D%/shm/demo_gauges.h \
	%D%/shm/demo_hand_on.h \
	%D%/shm/demo_metrics.c %D%/shm/demo_metrics.def %D%/shm/demo_metrics.h \
	%D%/shm/demo_segment.h \
	%D%/shm/demo_shm.c %D%/shm/demo_shm.h \
	%D%/shm/demo_sizes.h \
	%D%/shm/demo_yield.c %D%/shm/demo_yield.h
DEMO_BACKEND = \
	%D%/backend/demo_backend.c %D%/backend/demo_backend.h \
	%D%/backend/demo_balance.c %D%/backend/demo_balance.h \
	%D%/backend/demo_cluster.c %D%/backend/demo_cluster.h \
	%D%/backend/demo_endpoint.c %D%/backend/demo_endpoint.h
DEMO_POOL = \
	%D%/pool/demo_bound.c %D%/pool/demo_bound.h \
	%D%/pool/demo_conn.c %D%/pool/demo_conn.h \
	%D%/pool/demo_place.c %D%/pool/demo_place.h \
	%D%/pool/demo_pool.c %D%/pool/demo_pool.h
DEMO_BACKGROUND = \
	%D%/background/demo_fetch.c %D%/background/demo_fetch.h \
	%D%/background/demo_health.c %D%/background/demo_health.h \
	%D%/background/demo_leader.c %D%/background/demo_leader.h \
	%D%/background/demo_resolve.c %D%/background/demo_resolve.h
DEMO_CONFIG = \
	%D%/config/demo_config.c %D%/config/demo_config.h \
	%D%/config/demo_directives.c %D%/config/demo_directives.h \
	%D%/config/demo_options.c %D%/config/demo_options.h
DEMO_EXCHANGE = \
	%D%/exchange/demo_client.c %D%/exchange/demo_client.h \
	%D%/exchange/demo_exchange.c %D%/exchange/demo_exchange.h \
	%D%/exchange/demo_spool.c %D%/exchange/demo_spool.h
DEMO_RESPONSE = \
	%D%/response/demo_header.c %D%/response/demo_header.h \
	%D%/response/demo_output.c %D%/response/demo_output.h \
	%D%/response/demo_recv.c %D%/response/demo_recv.h \
	%D%/response/demo_turn.c %D%/response/demo_turn.h
DEMO_REQUEST = \
	%D%/request/demo_attempt.c %D%/request/demo_attempt.h \
	%D%/request/demo_body.c %D%/request/demo_body.h \
	%D%/request/demo_handler.c %D%/request/demo_handler.h \
	%D%/request/demo_params.c %D%/request/demo_params.h \
	%D%/request/demo_park.c %D%/request/demo_park.h \
	%D%/request/demo_path.c %D%/request/demo_path.h \
	%D%/request/demo_send.c %D%/request/demo_send.h
DEMO_OBSERVE = \
	%D%/observe/demo_counters.c %D%/observe/demo_counters.h \
	%D%/observe/demo_fpmqueue.c %D%/observe/demo_fpmqueue.h \
	%D%/observe/demo_health_page.c %D%/observe/demo_health_page.h \
	%D%/observe/demo_metrics_page.c %D%/observe/demo_metrics_page.h \
	%D%/observe/demo_scoreboard.c %D%/observe/demo_scoreboard.h \
	%D%/observe/demo_status.c %D%/observe/demo_status.h

# The httpd module.
moddir = $(HTTPD_MODULEDIR)
mod_LTLIBRARIES = mod_demo/mod_demo.la
mod_demo_mod_demo_la_SOURCES = $(DEMO_SHM) $(DEMO_BACKEND) $(DEMO_POOL) $(DEMO_BACKGROUND) $(DEMO_CONFIG) \
	$(DEMO_EXCHANGE) $(DEMO_RESPONSE) $(DEMO_REQUEST) $(DEMO_OBSERVE) %D%/mod_demo.c
mod_demo_mod_demo_la_CPPFLAGS = -DDEMO_VERSION='"$(PACKAGE_VERSION)"' $(AM_CPPFLAGS) $(HTTPD_CPPFLAGS) $(APR_CFLAGS) $(APU_CFLAGS)
mod_demo_mod_demo_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -export-symbols-regex '^demo_module$$'
mod_demo_mod_demo_la_LIBADD = lib/libdemo.la
