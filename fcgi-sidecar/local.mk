# The companion beside php-fpm.
bin_PROGRAMS += fcgi-sidecar/fcgi-sidecar
fcgi_sidecar_fcgi_sidecar_SOURCES = \
	%D%/main.c
fcgi_sidecar_fcgi_sidecar_CPPFLAGS = $(AM_CPPFLAGS) $(APR_CFLAGS) $(SQLITE_CFLAGS) $(MHD_CFLAGS) \
	$(FCGI_CFLAGS) $(CRYPTO_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS)
fcgi_sidecar_fcgi_sidecar_LDADD = lib/libdemo.la $(APR_LIBS) $(SQLITE_LIBS) $(MHD_LIBS) \
	$(FCGI_LIBS) $(CRYPTO_LIBS) $(JANSSON_LIBS) $(CURL_LIBS)
