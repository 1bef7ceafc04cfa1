<?php
/* The worker kills itself: ?when=before (any output) or after (some of it). */
if (($_GET['when'] ?? 'before') === 'after') {
    header('Content-Length: 1000000');
    echo str_repeat('x', 100000);
    while (ob_get_level()) {
        ob_end_flush();
    }
    flush();
}
posix_kill(getmypid(), 9);
