<?php /** @var Notejam\View $view */ ?>
<h1>Delete note</h1>
<form method="post">
  <?= $view->csrf() ?>
  <p>Delete the note <strong><?= $view->e($note['name']) ?></strong>? It cannot be brought back.</p>
  <p class="actions"><button class="danger">Delete</button> <a href="/notes/<?= $note['id'] ?>/">Cancel</a></p>
</form>
