<?php
/* An uncaught exception: PHP answers 500 by itself and writes to the error stream. */
throw new RuntimeException('on purpose');
