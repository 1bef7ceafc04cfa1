"""Real servers and scripted peers for the tests: httpd, php-fpm, fcgi-sidecar, FastCGI, HTTP.

Python 3.10 and later, the standard library and pytest only.
"""
