UNIT_TESTS = \
	tests/unit/test_fcgiw \
	tests/unit/test_fcgiw_stream \
	tests/unit/test_cgih \
	tests/unit/test_prom
if HAVE_CMOCKA
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)
endif
tests_unit_test_fcgiw_SOURCES = %D%/test_fcgiw.c %D%/testlib.h
tests_unit_test_fcgiw_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(FCGI_CFLAGS)
tests_unit_test_fcgiw_LDADD = lib/libdemo.la $(CMOCKA_LIBS)
tests_unit_test_fcgiw_stream_SOURCES = %D%/test_fcgiw_stream.c %D%/testlib.h
tests_unit_test_fcgiw_stream_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_fcgiw_stream_LDADD = lib/libdemo.la $(CMOCKA_LIBS)
tests_unit_test_cgih_SOURCES = %D%/test_cgih.c %D%/testlib.h
tests_unit_test_cgih_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_cgih_LDADD = lib/libdemo.la $(CMOCKA_LIBS)
tests_unit_test_prom_SOURCES = %D%/test_prom.c %D%/testlib.h
tests_unit_test_prom_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_prom_LDADD = lib/libdemo.la $(CMOCKA_LIBS)
