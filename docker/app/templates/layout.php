<?php /** @var Notejam\View $view */ ?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title><?= $view->e($title) ?> – Notejam</title>
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/assets/app.css?v=<?= Notejam\View::ASSETS ?>">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
  <a class="brand" href="/">Notejam</a>
  <nav aria-label="Account">
<?php if ($user !== null): ?>
    <span class="who"><?= $view->e($user['email']) ?></span>
    <a href="/settings/">Settings</a>
    <a href="/signout/">Sign out</a>
<?php elseif (!$bare): ?>
    <a href="/signin/">Sign in</a>
    <a href="/signup/">Sign up</a>
<?php endif ?>
  </nav>
</header>
<div class="<?= $user !== null ? 'columns' : 'single' ?>">
<?php if ($user !== null): ?>
<nav class="pads" aria-label="Pads">
  <h2>Pads</h2>
  <ul>
    <li><a href="/">All notes</a></li>
<?php foreach ($pads as $item): ?>
    <li><a href="/pads/<?= $item['id'] ?>/"<?= $item['id'] === ($padId ?? null) ? ' aria-current="page"' : '' ?>><?= $view->e($item['name']) ?></a></li>
<?php endforeach ?>
  </ul>
  <a class="button quiet" href="/pads/create/">New pad</a>
</nav>
<?php endif ?>
<main id="main">
<?php if ($flash !== null): ?>
<p class="flash" role="status"><?= $view->e($flash) ?></p>
<?php endif ?>
<?= $content ?>
</main>
</div>
<footer>Notejam, answered by <code id="instance"><?= $view->instance() ?></code></footer>
</body>
</html>
