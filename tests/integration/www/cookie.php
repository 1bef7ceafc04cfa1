<?php
/* Three cookies, one header each. */
setcookie('a', '1');
setcookie('b', '2', ['httponly' => true]);
setcookie('c', 'with space', ['path' => '/']);
echo 'cookies';
