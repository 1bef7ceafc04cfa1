<?php /** @var Notejam\View $view */ ?>
<h1>Settings</h1>
<form method="post" action="/settings/">
  <?= $view->csrf() ?>
  <h2>Change the password</h2>
  <?= $view->field($form, 'old_password', 'Password until now', ['type' => 'password', 'required' => true, 'autocomplete' => 'current-password']) ?>
  <?= $view->field($form, 'new_password', 'New password, at least ' . Notejam\Users::PASSWORD_MIN . ' characters', ['type' => 'password', 'required' => true, 'autocomplete' => 'new-password']) ?>
  <?= $view->field($form, 'repeat_new_password', 'New password again', ['type' => 'password', 'required' => true, 'autocomplete' => 'new-password']) ?>
  <p class="actions"><button>Change the password</button></p>
</form>
