# Guards: what must stay true of the tree itself.
# The manifests: what they hold, and that the chart renders to them (needs helm, else it skips).
guard_manifests = %D%/manifests %D%/pods
TESTS += $(guard_manifests)
EXTRA_DIST += $(guard_manifests) .dockerignore
