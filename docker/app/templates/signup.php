<?php /** @var Notejam\View $view */ ?>
<h1>Sign up</h1>
<form method="post" action="/signup/">
  <?= $view->csrf() ?>
  <?= $view->field($form, 'email', 'E-mail', ['type' => 'email', 'required' => true, 'autocomplete' => 'username', 'autofocus' => true]) ?>
  <?= $view->field($form, 'password', 'Password, at least ' . Notejam\Users::PASSWORD_MIN . ' characters', ['type' => 'password', 'required' => true, 'autocomplete' => 'new-password']) ?>
  <?= $view->field($form, 'repeat_password', 'Password again', ['type' => 'password', 'required' => true, 'autocomplete' => 'new-password']) ?>
  <p class="actions"><button>Sign up</button></p>
</form>
<p>Already have an account? <a href="/signin/">Sign in</a></p>
