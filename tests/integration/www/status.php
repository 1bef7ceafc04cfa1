<?php
/* ?code=N answers with that status; &body=TEXT. */
http_response_code((int)($_GET['code'] ?? 200));
header('Content-Type: text/plain');
echo $_GET['body'] ?? 'status';
