# Shared by both products: C11 and libc only.
noinst_LTLIBRARIES += lib/libdemo.la
lib_libdemo_la_SOURCES = \
	%D%/cgih.c %D%/cgih.h \
	%D%/fcgiw.c %D%/fcgiw.h \
	%D%/fcgiw_stream.c %D%/fcgiw_stream.h \
	%D%/prom.c %D%/prom.h
