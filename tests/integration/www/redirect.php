<?php
/* ?to=URL with PHP's own status (302), or &code=N. */
header('Location: ' . ($_GET['to'] ?? '/params.php'), true, (int)($_GET['code'] ?? 0));
