<?php /** @var Notejam\View $view */ ?>
<h1><?= $view->e($title) ?> <small><?= $status ?></small></h1>
<p><?= $view->e($message) ?></p>
<p><a href="/">To your notes</a></p>
