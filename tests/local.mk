# make check: unit tests, replay of the fuzz seeds, guards.  The integration and
# end-to-end tests are pytest's and are started by scripts/test.
include %D%/unit/local.mk
include %D%/tools/local.mk
include %D%/fuzz/local.mk
include %D%/guard/local.mk
include %D%/model/local.mk
EXTRA_DIST += %D%/conftest.py %D%/app %D%/apps %D%/e2e %D%/e2e-cluster %D%/images %D%/integration %D%/symfony %D%/tools
