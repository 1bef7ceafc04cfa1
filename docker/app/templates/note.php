<?php /** @var Notejam\View $view */ ?>
<article>
  <h1><?= $view->e($note['name']) ?></h1>
  <p class="meta"><?php if ($note['pad_id'] !== null): ?>In <a href="/pads/<?= $note['pad_id'] ?>/"><?= $view->e($note['pad_name']) ?></a>, <?php endif ?>last change <?= $view->time($note['updated_at']) ?></p>
  <div class="text"><?= $view->e($note['text']) ?></div>
</article>
<p class="actions"><a class="button" href="/notes/<?= $note['id'] ?>/edit/">Edit</a> <a class="danger" href="/notes/<?= $note['id'] ?>/delete/">Delete</a></p>
