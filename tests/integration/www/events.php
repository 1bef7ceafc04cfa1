<?php
/* Server-sent events: ?n=N of them, ?ms=N apart; the second not before ?until=NAME is in the temporary folder. */
require __DIR__ . '/until.inc';
header('Content-Type: text/event-stream');
while (ob_get_level()) {
    ob_end_flush();
}
for ($i = 0; $i < (int)($_GET['n'] ?? 3); $i++) {
    echo "data: $i\n\n";
    flush();
    usleep((int)($_GET['ms'] ?? 100) * 1000);
    until();
}
