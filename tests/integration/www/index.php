<?php
/* The front controller of tests that have one. */
header('Content-Type: application/json');
echo json_encode(['script' => 'index', 'uri' => $_SERVER['REQUEST_URI'], 'path_info' => $_SERVER['PATH_INFO'] ?? null,
    'script_name' => $_SERVER['SCRIPT_NAME']], JSON_UNESCAPED_SLASHES);
