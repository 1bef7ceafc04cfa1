<?php /** @var Notejam\View $view */ ?>
<h1>Look into your mail</h1>
<p>If there is an account for <strong><?= $view->e($email) ?></strong>, a link to set a new password is on its way. It is good for one hour.</p>
<p><a href="/signin/">Back to sign in</a></p>
