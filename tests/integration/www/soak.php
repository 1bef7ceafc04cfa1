<?php
/* What http_mix asks for. A POST: its id is recorded, its body read and summed up. Else &bytes=N, after &ms=N. */
header('Content-Type: text/plain');
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    file_put_contents(getenv('SOAK_RECORD'), "{$_GET['id']}\n", FILE_APPEND);
    $in = fopen('php://input', 'rb');
    $sum = hash_init('adler32');
    $length = 0;
    while (($data = fread($in, 65536)) !== false && $data !== '') {
        hash_update($sum, $data);
        $length += strlen($data);
    }
    echo "{$_GET['id']} $length ", hash_final($sum);
    exit;
}
usleep(1000 * (int)($_GET['ms'] ?? 0));
$unit = str_repeat('x', 65536);
for ($left = (int)($_GET['bytes'] ?? 0); $left > 0; $left -= 65536) {
    echo $left < 65536 ? substr($unit, 0, $left) : $unit;
}
