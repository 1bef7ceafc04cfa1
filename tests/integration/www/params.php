<?php
/* What FastCGI and PHP made of the request, as JSON. */
header('Content-Type: application/json');
$server = array_filter($_SERVER, fn($k) => $k !== 'argv' && $k !== 'argc', ARRAY_FILTER_USE_KEY);
echo json_encode(['server' => $server, 'get' => $_GET, 'post' => $_POST, 'cookie' => $_COOKIE, 'files' => $_FILES],
    JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR);
