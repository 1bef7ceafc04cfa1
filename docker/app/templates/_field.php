<?php
/** @var Notejam\View $view */
$multiline = ($attributes['type'] ?? '') === 'textarea';
$html = '';
foreach (($multiline ? ['type' => false] : []) + $attributes + ($multiline ? [] : ['type' => 'text']) as $key => $setting) {
    if ($setting !== false) {
        $html .= " $key" . ($setting === true ? '' : '="' . $view->e($setting) . '"');
    }
}
if ($error !== null) {
    $html .= " aria-invalid=\"true\" aria-describedby=\"$name-error\"";
}
?>
<div class="field">
  <label for="<?= $name ?>"><?= $view->e($label) ?></label>
<?php if ($multiline): ?>
  <textarea id="<?= $name ?>" name="<?= $name ?>"<?= $html ?>>
<?= $view->e($value) /* a browser drops the line break before this, so that one of the value's stays */ ?></textarea>
<?php else: ?>
  <input id="<?= $name ?>" name="<?= $name ?>" value="<?= $view->e($value) ?>"<?= $html ?>>
<?php endif ?>
<?php if ($error !== null): ?>
  <p class="error" id="<?= $name ?>-error"><?= $view->e($error) ?></p>
<?php endif ?>
</div>
