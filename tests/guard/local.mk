# Guards: what must stay true of the tree itself.
# The manifests: what they hold, and that the chart renders to them (needs helm, else it skips).
guard_manifests = %D%/manifests %D%/pods %D%/chart
TESTS += $(guard_manifests)
EXTRA_DIST += $(guard_manifests)
# The tree: layers, documentation, sizes, litter, registration; selftest.py breaks each rule once.
GUARDS = \
	tests/guard/configure \
	tests/guard/clean.py \
	tests/guard/documented.py \
	tests/guard/layers.py \
	tests/guard/registered.py \
	tests/guard/selftest.py \
	tests/guard/sizes.py
TEST_EXTENSIONS = .py
PY_LOG_COMPILER = $(srcdir)/tests/guard/run-python
TESTS += $(GUARDS)
EXTRA_DIST += $(GUARDS) %D%/guardlib.py %D%/run-python
