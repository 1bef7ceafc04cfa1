<?php /** @var Notejam\View $view */ ?>
<h1><?= $view->e($heading) ?></h1>
<form method="post" class="wide">
  <?= $view->csrf() ?>
  <?= $view->field($form, 'name', 'Name', ['required' => true, 'maxlength' => Notejam\Notes::NAME_MAX, 'autofocus' => true]) ?>
  <?= $view->field($form, 'text', 'Text', ['type' => 'textarea', 'required' => true, 'rows' => 12]) ?>
  <div class="field">
    <label for="pad">Pad</label>
    <select id="pad" name="pad"<?= $form->error('pad') === null ? '' : ' aria-invalid="true" aria-describedby="pad-error"' ?>>
      <option value="0">– none –</option>
<?php foreach ($pads as $item): ?>
      <option value="<?= $item['id'] ?>"<?= $form->value('pad') === (string) $item['id'] ? ' selected' : '' ?>><?= $view->e($item['name']) ?></option>
<?php endforeach ?>
    </select>
<?php if ($form->error('pad') !== null): ?>
    <p class="error" id="pad-error"><?= $view->e($form->error('pad')) ?></p>
<?php endif ?>
  </div>
  <p class="actions"><button>Save</button> <a href="/">Cancel</a></p>
</form>
