# The httpd module.
moddir = $(HTTPD_MODULEDIR)
mod_LTLIBRARIES = mod_demo/mod_demo.la
mod_demo_mod_demo_la_SOURCES = \
	%D%/demo_attempt.c %D%/demo_attempt.h \
	%D%/demo_backend.c %D%/demo_backend.h \
	%D%/demo_balance.c %D%/demo_balance.h \
	%D%/demo_body.c %D%/demo_body.h \
	%D%/demo_bound.c %D%/demo_bound.h \
	%D%/demo_conn.c %D%/demo_conn.h \
	%D%/demo_counters.c %D%/demo_counters.h \
	%D%/demo_directives.c %D%/demo_directives.h \
	%D%/demo_endpoint.c %D%/demo_endpoint.h \
	%D%/demo_exchange.c %D%/demo_exchange.h \
	%D%/demo_fetch.c %D%/demo_fetch.h \
	%D%/demo_handler.c %D%/demo_handler.h \
	%D%/demo_header.c %D%/demo_header.h \
	%D%/demo_health.c %D%/demo_health.h \
	%D%/demo_health_page.c \
	%D%/demo_leader.c %D%/demo_leader.h \
	%D%/demo_metrics.c %D%/demo_metrics.def %D%/demo_metrics.h \
	%D%/demo_metrics_page.c \
	%D%/demo_options.c %D%/demo_options.h \
	%D%/demo_output.c %D%/demo_output.h \
	%D%/demo_params.c %D%/demo_params.h \
	%D%/demo_park.c %D%/demo_park.h \
	%D%/demo_path.c %D%/demo_path.h \
	%D%/demo_pool.c %D%/demo_pool.h \
	%D%/demo_recv.c %D%/demo_recv.h \
	%D%/demo_fpmqueue.c %D%/demo_fpmqueue.h \
	%D%/demo_resolve.c %D%/demo_resolve.h \
	%D%/demo_scoreboard.c %D%/demo_scoreboard.h \
	%D%/demo_segment.h \
	%D%/demo_send.c %D%/demo_send.h \
	%D%/demo_shm.c %D%/demo_shm.h \
	%D%/demo_status.c %D%/demo_status.h \
	%D%/demo_spool.c %D%/demo_spool.h \
	%D%/mod_demo.c
mod_demo_mod_demo_la_CPPFLAGS = -DDEMO_VERSION='"$(PACKAGE_VERSION)"' $(AM_CPPFLAGS) $(HTTPD_CPPFLAGS) $(APR_CFLAGS) $(APU_CFLAGS)
mod_demo_mod_demo_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -export-symbols-regex '^demo_module$$'
mod_demo_mod_demo_la_LIBADD = lib/libdemo.la
