<?php
/* ?bytes=N of a repeated pattern; &length=1 states the Content-Length; &chunk=N writes that much at a time. */
$bytes = (int)($_GET['bytes'] ?? 0);
$chunk = max(1, (int)($_GET['chunk'] ?? 65536));
header('Content-Type: application/octet-stream');
if (!empty($_GET['length'])) {
    header("Content-Length: $bytes");
}
$unit = '';
for ($i = 0; strlen($unit) < $chunk + 256; $i++) {
    $unit .= chr($i & 255);
}
for ($at = 0; $at < $bytes; $at += $n) {
    $n = min($chunk, $bytes - $at);
    echo substr($unit, $at & 255, $n);
}
