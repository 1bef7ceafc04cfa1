<?php /** @var Notejam\View $view */ ?>
<h1>New password</h1>
<form method="post">
  <?= $view->csrf() ?>
  <?= $view->field($form, 'new_password', 'New password, at least ' . Notejam\Users::PASSWORD_MIN . ' characters', ['type' => 'password', 'required' => true, 'autocomplete' => 'new-password', 'autofocus' => true]) ?>
  <?= $view->field($form, 'repeat_new_password', 'New password again', ['type' => 'password', 'required' => true, 'autocomplete' => 'new-password']) ?>
  <p class="actions"><button>Set the password</button></p>
</form>
