<?php /** @var Notejam\View $view */ ?>
<h1>Sign out</h1>
<form method="post" action="/signout/">
  <?= $view->csrf() ?>
  <p>Sign out <?= $view->e($user['email']) ?> on this device?</p>
  <p class="actions"><button>Sign out</button> <a href="/">Cancel</a></p>
</form>
