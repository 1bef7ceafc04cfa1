<?php
/* Reads the body: how long, and which. */
header('Content-Type: application/json');
$in = fopen('php://input', 'rb');
$hash = hash_init('sha256');
$length = 0;
while (($data = fread($in, 65536)) !== false && $data !== '') {
    hash_update($hash, $data);
    $length += strlen($data);
}
echo json_encode(['length' => $length, 'sha256' => hash_final($hash), 'method' => $_SERVER['REQUEST_METHOD'],
    'content_length' => $_SERVER['CONTENT_LENGTH'] ?? null, 'content_type' => $_SERVER['CONTENT_TYPE'] ?? null]);
