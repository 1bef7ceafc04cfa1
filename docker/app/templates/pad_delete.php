<?php /** @var Notejam\View $view */ ?>
<h1>Delete pad</h1>
<form method="post">
  <?= $view->csrf() ?>
  <p>Delete the pad <strong><?= $view->e($pad['name']) ?></strong>?
<?php if ($count === 0): ?>
  There are no notes in it.</p>
<?php else: ?>
  <strong><?= $count === 1 ? 'The 1 note' : "All $count notes" ?> in it will be deleted with it</strong> and cannot be brought back.</p>
<?php endif ?>
  <p class="actions"><button class="danger">Delete</button> <a href="/pads/<?= $pad['id'] ?>/">Cancel</a></p>
</form>
