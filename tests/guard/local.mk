# Guards: what must stay true of the tree itself.
