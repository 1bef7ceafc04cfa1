<?php
/* Answers, ends the request, and works on for ?ms=N; then appends to ?file= in the temporary folder. */
echo 'finished';
fastcgi_finish_request();
usleep((int)($_GET['ms'] ?? 500) * 1000);
if (isset($_GET['file'])) {
    file_put_contents(sys_get_temp_dir() . '/' . basename($_GET['file']), "done\n", FILE_APPEND);
}
