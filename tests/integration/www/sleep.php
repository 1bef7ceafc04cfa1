<?php
/* ?ms=N before the answer; &after=N between two halves of it. ?until=NAME: not before that file is in the temporary
   folder (PhpFpm.let()), and with &flush=1 the first half comes at once. */
require __DIR__ . '/until.inc';
header('Content-Type: text/plain');
usleep((int)($_GET['ms'] ?? 0) * 1000);
if (!isset($_GET['flush'])) {
    until();
}
echo "first\n";
if (isset($_GET['after']) || isset($_GET['flush'])) {
    while (ob_get_level()) {
        ob_end_flush();
    }
    flush();
    usleep((int)($_GET['after'] ?? 0) * 1000);
    until();
}
echo 'pid=' . getmypid() . "\n";
