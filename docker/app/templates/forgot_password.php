<?php /** @var Notejam\View $view */ ?>
<h1>Forgotten password</h1>
<form method="post" action="/forgot-password/">
  <?= $view->csrf() ?>
  <p>We send you a link with which you can set a new password.</p>
  <?= $view->field($form, 'email', 'E-mail', ['type' => 'email', 'required' => true, 'autocomplete' => 'username', 'autofocus' => true]) ?>
  <p class="actions"><button>Send the link</button> <a href="/signin/">Back to sign in</a></p>
</form>
