<?php
/* ?line[]=TEXT… goes to the FastCGI error stream, a line each. */
foreach ((array)($_GET['line'] ?? ['a message']) as $line) {
    error_log($line);
}
echo 'logged';
