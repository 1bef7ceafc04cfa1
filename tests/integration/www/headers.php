<?php
/* ?h[]=Name: value… sets headers as they are, repeated ones kept; ?many=N adds N; ?big=N adds one of N bytes. */
foreach ((array)($_GET['h'] ?? []) as $line) {
    header($line, false);
}
for ($i = 0; $i < (int)($_GET['many'] ?? 0); $i++) {
    header("X-Many-$i: $i");
}
if (isset($_GET['big'])) {
    header('X-Big: ' . str_repeat('b', (int)$_GET['big']));
}
echo 'headers';
