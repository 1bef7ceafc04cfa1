# The httpd module.
moddir = $(HTTPD_MODULEDIR)
mod_LTLIBRARIES = mod_demo/mod_demo.la
mod_demo_mod_demo_la_SOURCES = \
	%D%/mod_demo.c
mod_demo_mod_demo_la_CPPFLAGS = $(AM_CPPFLAGS) $(HTTPD_CPPFLAGS) $(APR_CFLAGS) $(APU_CFLAGS)
mod_demo_mod_demo_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -export-symbols-regex '^demo_module$$'
mod_demo_mod_demo_la_LIBADD = lib/libdemo.la
