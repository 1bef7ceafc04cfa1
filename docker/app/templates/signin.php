<?php /** @var Notejam\View $view */ ?>
<h1>Sign in</h1>
<?php if ($user !== null): ?>
<p>You are signed in as <?= $view->e($user['email']) ?>. <a href="/">Go to your notes</a>, or sign in with another account:</p>
<?php endif ?>
<form method="post" action="/signin/">
  <?= $view->csrf() ?>
  <input type="hidden" name="next" value="<?= $view->e($next) ?>">
  <?= $view->field($form, 'email', 'E-mail', ['type' => 'email', 'required' => true, 'autocomplete' => 'username', 'autofocus' => true]) ?>
  <?= $view->field($form, 'password', 'Password', ['type' => 'password', 'required' => true, 'autocomplete' => 'current-password']) ?>
  <p class="actions"><button>Sign in</button> <a href="/forgot-password/">Forgot your password?</a></p>
</form>
<p>No account yet? <a href="/signup/">Sign up</a></p>
