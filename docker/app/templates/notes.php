<?php /** @var Notejam\View $view */ ?>
<div class="heading">
  <h1>All notes <small><?= $count ?></small></h1>
  <a class="button" href="/notes/create/">New note</a>
</div>
<?= $view->template('_notes', compact('notes', 'order', 'page', 'pages', 'padId')) ?>
