<?php
/* Answers, ends the request, and works on for ?ms=N, or until ?until=NAME is in the temporary folder; then appends to
   ?file= there. */
require __DIR__ . '/until.inc';
echo 'finished';
fastcgi_finish_request();
usleep((int)($_GET['ms'] ?? 0) * 1000);
until();
if (isset($_GET['file'])) {
    file_put_contents(sys_get_temp_dir() . '/' . basename($_GET['file']), "done\n", FILE_APPEND);
}
