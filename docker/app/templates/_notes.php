<?php
/** @var Notejam\View $view */
$base = $padId === null ? '/' : "/pads/$padId/";
$sort = static function (string $key, string $label) use ($order, $base): string {
    $current = ltrim($order, '-') === $key;
    $descending = str_starts_with($order, '-');
    // a click on the current column turns it round
    $next = $current && !$descending ? "-$key" : $key;
    $mark = $current ? ($descending ? ' ▾' : ' ▴') : '';
    $aria = $current ? ' aria-sort="' . ($descending ? 'descending' : 'ascending') . '"' : '';
    return "<th scope=\"col\"$aria><a href=\"$base?order=$next\">$label$mark</a></th>";
};
?>
<?php if ($notes === []): ?>
<p class="empty">No notes here yet. <a href="/notes/create/<?= $padId === null ? '' : "?pad=$padId" ?>">Write the first one.</a></p>
<?php else: ?>
<table class="notes">
<thead><tr><?= $sort('name', 'Note') ?><?php if ($padId === null): ?><th scope="col" class="pad">Pad</th><?php endif ?><?= $sort('updated_at', 'Last change') ?></tr></thead>
<tbody>
<?php foreach ($notes as $note): ?>
<tr>
  <td><a href="/notes/<?= $note['id'] ?>/"><?= $view->e($note['name']) ?></a></td>
<?php if ($padId === null): ?>
  <td class="pad"><?php if ($note['pad_id'] !== null): ?><a href="/pads/<?= $note['pad_id'] ?>/"><?= $view->e($note['pad_name']) ?></a><?php else: ?>–<?php endif ?></td>
<?php endif ?>
  <td class="when"><?= $view->time($note['updated_at']) ?></td>
</tr>
<?php endforeach ?>
</tbody>
</table>
<?php endif ?>
<?php if ($pages > 1): ?>
<nav class="pages" aria-label="Pages">
<?php if ($page > 1): ?><a rel="prev" href="<?= $base ?>?order=<?= $order ?>&amp;page=<?= $page - 1 ?>">Previous</a><?php endif ?>
  <span>Page <?= $page ?> of <?= $pages ?></span>
<?php if ($page < $pages): ?><a rel="next" href="<?= $base ?>?order=<?= $order ?>&amp;page=<?= $page + 1 ?>">Next</a><?php endif ?>
</nav>
<?php endif ?>
