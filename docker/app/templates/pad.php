<?php /** @var Notejam\View $view */ ?>
<div class="heading">
  <h1><?= $view->e($pad['name']) ?> <small><?= $count ?></small></h1>
  <a class="button" href="/notes/create/?pad=<?= $pad['id'] ?>">New note</a>
</div>
<?= $view->template('_notes', compact('notes', 'order', 'page', 'pages', 'padId')) ?>
<p class="actions"><a href="/pads/<?= $pad['id'] ?>/edit/">Rename the pad</a> <a class="danger" href="/pads/<?= $pad['id'] ?>/delete/">Delete the pad</a></p>
