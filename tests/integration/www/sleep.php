<?php
/* ?ms=N before the answer; &after=N between two halves of it; &cpu=1 spins instead. */
function pause(int $ms): void
{
    usleep($ms * 1000);
}
header('Content-Type: text/plain');
pause((int)($_GET['ms'] ?? 0));
echo "first\n";
if (isset($_GET['after'])) {
    while (ob_get_level()) {
        ob_end_flush();
    }
    flush();
    pause((int)$_GET['after']);
}
echo 'pid=' . getmypid() . "\n";
