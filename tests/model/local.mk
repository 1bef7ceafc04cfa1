# The model of the hand-over.  Too long for make check: scripts/test model runs it.
EXTRA_DIST += %D%/README.md %D%/check %D%/handover.pml %D%/mutations
