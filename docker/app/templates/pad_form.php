<?php /** @var Notejam\View $view */ ?>
<h1><?= $view->e($heading) ?></h1>
<form method="post">
  <?= $view->csrf() ?>
  <?= $view->field($form, 'name', 'Name', ['required' => true, 'maxlength' => Notejam\Pads::NAME_MAX, 'autofocus' => true]) ?>
  <p class="actions"><button>Save</button> <a href="<?= $pad === null ? '/' : "/pads/{$pad['id']}/" ?>">Cancel</a></p>
</form>
